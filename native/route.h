/* A compiled route: see route.c. */

#ifndef HYDRA_ROUTE_H
#define HYDRA_ROUTE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* So many destinations a route can have. */
#define MOST_QUEUES 16

extern PyTypeObject Route_Type;

/* Log *message* with the *count* fields *names* and *values* the short way. NULL without an
   exception says that nothing was done, and that `route_careful` has to do it. */
PyObject *route_short(PyObject *route, PyObject *log, PyObject *message, Py_ssize_t count,
                      PyObject *const *names, PyObject *const *values);

/* Count a record for which there is no memory at all, not even to call the Python function, and
   say that it is dropped; what was raised is forgotten. */
PyObject *route_give_up(PyObject *route);

/* The Python function that knows every case, borrowed. */
PyObject *route_careful(PyObject *route);

#endif
