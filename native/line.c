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
static Slot depth_slot = {.name = "_depth"};
static Slot known_slot = {.name = "known"};
static Slot within_slot = {.name = "within"};
static Slot data_slot = {.name = "data"};
static Slot keys_slot = {.name = "keys"};
static Slot cut_slot = {.name = "cut"};
static Slot encoded_slot = {.name = "encoded"};

/* More containers in each other take the careful way. */
#define MOST_DEPTH 8

/* Whether *name* is a string that may be written as it is, and hides no secret. */
static int
is_known(PyObject *known, PyObject *name)
{
    return known != NULL && PyAnySet_CheckExact(known) && PyUnicode_CheckExact(name) &&
           PySet_Contains(known, name) == 1;
}

int
are_plain(Route *self, Py_ssize_t count, PyObject *const *names, PyObject *const *values)
{
    PyObject *known = slot_get(&known_slot, self->names);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = values[i];
        if (!is_known(known, names[i]) ||
            !(PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value) ||
              PyFloat_CheckExact(value) || value == Py_None || PyDict_CheckExact(value) ||
              PyList_CheckExact(value) || PyTuple_CheckExact(value))) {
            return 0;
        }
    }
    return 1;
}

/* Write a name, which is known to be ASCII without anything that wants an escape. */
static int
put_name(Buffer *buffer, PyObject *name)
{
    return put_bytes(buffer, "\"", 1) &&
           put_bytes(buffer, PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)) &&
           put_bytes(buffer, "\":", 2);
}

static int put_value(Route *self, Buffer *buffer, PyObject *value, int depth);

static int
put_dict(Route *self, Buffer *buffer, PyObject *dict, int depth)
{
    PyObject *known = slot_get(&within_slot, self->names), *name, *value;
    Py_ssize_t at = 0;
    char before = '{';
    while (PyDict_Next(dict, &at, &name, &value)) {
        if (!is_known(known, name) || !put_bytes(buffer, &before, 1) || !put_name(buffer, name) ||
            !put_value(self, buffer, value, depth)) {
            return 0;
        }
        before = ',';
    }
    return before == '{' ? put_bytes(buffer, "{}", 2) : put_bytes(buffer, "}", 1);
}

static int
put_items(Route *self, Buffer *buffer, PyObject *const *items, Py_ssize_t count, int depth)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!put_bytes(buffer, i ? "," : "[", 1) || !put_value(self, buffer, items[i], depth)) {
            return 0;
        }
    }
    return count ? put_bytes(buffer, "]", 1) : put_bytes(buffer, "[]", 2);
}

/* Write a container; *depth* counts those around it. */
static int
put_container(Route *self, Buffer *buffer, PyObject *value, int depth)
{
    PyObject *allowed = slot_get(&depth_slot, self->encoder);
    /* One that contains itself ends here, too. */
    if (depth >= MOST_DEPTH || allowed == NULL || depth >= PyLong_AsLong(allowed)) {
        return 0;
    }
    if (PyDict_CheckExact(value)) {
        return put_dict(self, buffer, value, depth + 1);
    }
    if (PyList_CheckExact(value)) {
        return put_items(self, buffer, ((PyListObject *)value)->ob_item, PyList_GET_SIZE(value),
                         depth + 1);
    }
    /* A pair may be the name of a secret and the secret. */
    return PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) != 2 &&
           put_items(self, buffer, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value),
                     depth + 1);
}

static int
put_value(Route *self, Buffer *buffer, PyObject *value, int depth)
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
    if (!PyFloat_CheckExact(value)) {
        return put_container(self, buffer, value, depth);
    }
    char *before = buffer->at;
    if (put_decimal(buffer, PyFloat_AS_DOUBLE(value))) {
        return 1;
    }
    buffer->at = before;
    /* The shortest text of any other is an art of its own, and msgspec's is what others write. */
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
        if (!put_bytes(buffer, ",", 1) || !put_name(buffer, names[i]) ||
            !put_value(self, buffer, values[i], 0)) {
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
