/*
 * The slots of Python classes (`__slots__`, and the fields of msgspec's structs) lie at fixed
 * places in their objects. The place stands in the member descriptor of the class that
 * declares the slot, and holds for subclasses that do not have another attribute of that name.
 */

#include "slot.h"

#include <structmember.h>

static int
find(Slot *slot, PyTypeObject *type)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)type, slot->name);
    if (found == NULL) {
        PyErr_Clear();
        return 0;
    }
    int usable = 0;
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        PyTypeObject *owner = PyDescr_TYPE(found);
        if (member->type == T_OBJECT_EX && PyType_IsSubtype(type, owner)) {
            Py_INCREF(type);
            Py_XSETREF(slot->type, type);
            slot->offset = member->offset;
            usable = 1;
        }
    }
    Py_DECREF(found);
    return usable;
}

PyObject *
slot_get(Slot *slot, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type != slot->type && !find(slot, type)) {
        return NULL;
    }
    return *(PyObject **)((char *)object + slot->offset);
}
