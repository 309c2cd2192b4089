/* Reading an attribute that stands in a slot of its object, without a call. */

#ifndef HYDRA_SLOT_H
#define HYDRA_SLOT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct {
    const char *name;
    PyTypeObject *owner;
    Py_ssize_t offset;
} Slot;

/* Return the attribute of *object*, borrowed, or NULL where it is no slot, or empty. It never
   raises. Which class has the slot is found out at the first object, and kept. */
PyObject *slot_get(Slot *slot, PyObject *object);

#endif
