/* A compiled method of a logger: see method.c. */

#ifndef HYDRA_METHOD_H
#define HYDRA_METHOD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject LevelMethod_Type;

#endif
