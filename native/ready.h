/* What is awaited without waiting: see ready.c. */

#ifndef HYDRA_READY_H
#define HYDRA_READY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject Ready_Type;

/* let_way(give_way): have whoever is awaited next go the way that this function returns, unless
   there is one to go already. */
PyObject *ready_let_way(PyObject *module, PyObject *give_way);

/* forget_way(): there is none any more. */
PyObject *ready_forget_way(PyObject *module, PyObject *unused);

/* Make what this needs; return -1 with an exception where there is no memory. */
int ready_set_up(void);

#endif
