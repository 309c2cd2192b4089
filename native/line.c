/*
 * The canonical line of a plain record, as `hydra.core.line` writes it.
 *
 * Each function returns 1, or 0 for what is not plain. Nothing here runs Python code, and on
 * Python 3.11, whose collector may run with each allocation, nothing makes an object that the
 * collector knows: what is borrowed stays valid.
 */

#include "route_parts.h"
#include "slot.h"

static Slot bound_slot = {.name = "_bound"};
static Slot known_slot = {.name = "known"};
static Slot data_slot = {.name = "data"};
static Slot keys_slot = {.name = "keys"};
static Slot cut_slot = {.name = "cut"};
static Slot encoded_slot = {.name = "encoded"};

int
are_plain(Route *self, Py_ssize_t count, PyObject *const *names, PyObject *const *values)
{
    PyObject *known = slot_get(&known_slot, self->encoder);
    if (known == NULL || !PyAnySet_CheckExact(known)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = values[i];
        if (!PyUnicode_CheckExact(names[i]) || PySet_Contains(known, names[i]) != 1 ||
            !(PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value) ||
              PyFloat_CheckExact(value) || value == Py_None)) {
            return 0;
        }
    }
    return 1;
}

static int
put_value(Route *self, Buffer *buffer, PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        return put_string(buffer, value);
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && put_integer(buffer, number);
    }
    if (value == Py_None) {
        return put_bytes(buffer, "null", 4);
    }
    if (value == Py_True) {
        return put_bytes(buffer, "true", 4);
    }
    if (value == Py_False) {
        return put_bytes(buffer, "false", 5);
    }
    /* The shortest text of a float is an art of its own, and msgspec's is what others write. */
    PyObject *text = PyObject_CallOneArg(self->encode, value);
    if (text == NULL) {
        PyErr_Clear();
        return 0;
    }
    int done = put_object(buffer, text);
    Py_DECREF(text);
    return done;
}

static int
put_fields(Route *self, Buffer *buffer, Py_ssize_t count, PyObject *const *names,
           PyObject *const *values)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        /* It is known to be ASCII without anything that wants an escape. */
        PyObject *name = names[i];
        if (!put_bytes(buffer, ",\"", 2) ||
            !put_bytes(buffer, PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)) ||
            !put_bytes(buffer, "\":", 2) || !put_value(self, buffer, values[i])) {
            return 0;
        }
    }
    return 1;
}

/* Whether none of *names* is in the set *keys*. */
static int
are_disjoint(PyObject *keys, Py_ssize_t count, PyObject *const *names)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PySet_Contains(keys, names[i])) {
            PyErr_Clear();
            return 0;
        }
    }
    return 1;
}

/* Write a fragment that joins *names* as it is, and tell its keys. */
static int
put_fragment(Buffer *buffer, PyObject *fragment, Py_ssize_t count, PyObject *const *names,
             PyObject **keys)
{
    PyObject *data = slot_get(&data_slot, fragment);
    *keys = slot_get(&keys_slot, fragment);
    return data != NULL && *keys != NULL && slot_get(&cut_slot, fragment) == Py_False &&
           are_disjoint(*keys, count, names) && put_object(buffer, data);
}

/* Return the fragment out of (encoder, fragment) where it is this encoder's; NULL if not. */
static PyObject *
fragment_of(Route *self, PyObject *pair)
{
    if (pair == NULL || !PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2 ||
        PyTuple_GET_ITEM(pair, 0) != self->encoder) {
        return NULL;
    }
    return PyTuple_GET_ITEM(pair, 1);
}

/* Write the fields of the logger and those of the context. */
static int
put_surroundings(Route *self, Buffer *buffer, PyObject *log, Py_ssize_t count,
                 PyObject *const *names)
{
    PyObject *bound = fragment_of(self, slot_get(&bound_slot, log));
    PyObject *outer = NULL, *inner = NULL, *layer;
    if (bound == NULL ||
        (bound != self->empty && !put_fragment(buffer, bound, count, names, &outer)) ||
        PyContextVar_Get(self->context, NULL, &layer) < 0) {
        PyErr_Clear();
        return 0;
    }
    /* The context that is in force holds it. */
    Py_XDECREF(layer);
    if (layer == NULL || layer == Py_None) {
        return 1;
    }
    PyObject *fragment = fragment_of(self, slot_get(&encoded_slot, layer));
    if (fragment == NULL || !put_fragment(buffer, fragment, count, names, &inner)) {
        return 0;
    }
    if (outer == NULL) {
        return 1;
    }
    /* A name that is a string already: nothing is made here that could start a collection. */
    PyObject *apart = PyObject_CallMethodOneArg(outer, self->isdisjoint, inner);
    PyErr_Clear();
    Py_XDECREF(apart);
    return apart == Py_True;
}

int
put_body(Route *self, Buffer *buffer, Moment *moment, PyObject *log, PyObject *message,
         Py_ssize_t count, PyObject *const *names, PyObject *const *values)
{
    if (!put_object(buffer, moment->start) || buffer->end - buffer->at < 3) {
        return 0;
    }
    put_three_digits(buffer, moment->micros);
    return put_object(buffer, self->middle) && put_string(buffer, message) &&
           put_surroundings(self, buffer, log, count, names) &&
           put_fields(self, buffer, count, names, values);
}
