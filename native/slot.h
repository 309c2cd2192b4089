/* Reading an attribute that stands in a slot of its object, without a call. */

#ifndef HYDRA_SLOT_H
#define HYDRA_SLOT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct {
    const char *name;
    PyTypeObject *type; /* of the last object that was asked */
    Py_ssize_t offset;
} Slot;

/* Return the attribute of *object*, borrowed, or NULL where it is no slot, or empty. It never
   raises. Where the slot lies is found out at the first object of a type, and kept. */
PyObject *slot_get(Slot *slot, PyObject *object);

#endif
