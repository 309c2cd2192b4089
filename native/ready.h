/* What is awaited without waiting: see ready.c. */

#ifndef HYDRA_READY_H
#define HYDRA_READY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject Ready_Type;

/* set_way(way): have whoever is awaited next go this way. */
PyObject *ready_set_way(PyObject *module, PyObject *way);

/* Make what this needs; return -1 with an exception where there is no memory. */
int ready_set_up(void);

#endif
