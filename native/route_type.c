/* How a compiled route is made, called and freed. */

#include "route_parts.h"

#include <stddef.h>
#include <structmember.h>

#define MOST_FIELDS 64

/* route(log, message, args, fields), as the Python function is called. */
static PyObject *
call(PyObject *route, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (PyVectorcall_NARGS(nargsf) == 4 && kwnames == NULL && PyTuple_CheckExact(args[2]) &&
        PyTuple_GET_SIZE(args[2]) == 0 && PyDict_CheckExact(args[3]) &&
        PyDict_GET_SIZE(args[3]) <= MOST_FIELDS) {
        PyObject *names[MOST_FIELDS], *values[MOST_FIELDS];
        Py_ssize_t at = 0, count = 0;
        while (count < MOST_FIELDS && PyDict_Next(args[3], &at, &names[count], &values[count])) {
            count++;
        }
        PyObject *receipt = route_short(route, args[0], args[1], count, names, values);
        if (receipt != NULL || PyErr_Occurred()) {
            return receipt;
        }
    }
    return PyObject_Vectorcall(route_careful(route), args, nargsf, kwnames);
}

static PyMemberDef members[] = {
    {"careful", T_OBJECT_EX, offsetof(Route, careful), READONLY},
    {"encoder", T_OBJECT_EX, offsetof(Route, encoder), READONLY},
    {"names", T_OBJECT_EX, offsetof(Route, names), READONLY},
    {"encode", T_OBJECT_EX, offsetof(Route, encode), READONLY},
    {"context", T_OBJECT_EX, offsetof(Route, context), READONLY},
    {"time_ns", T_OBJECT_EX, offsetof(Route, time_ns), READONLY},
    {"middle", T_OBJECT_EX, offsetof(Route, middle), READONLY},
    {"prefix", T_OBJECT_EX, offsetof(Route, prefix), READONLY},
    {"numbers", T_OBJECT_EX, offsetof(Route, numbers), READONLY},
    {"queues", T_OBJECT_EX, offsetof(Route, queues), READONLY},
    {"entries", T_OBJECT_EX, offsetof(Route, entries), READONLY},
    {"appends", T_OBJECT_EX, offsetof(Route, appends), READONLY},
    {"send", T_OBJECT_EX, offsetof(Route, send), READONLY},
    {"lost", T_OBJECT_EX, offsetof(Route, lost), READONLY},
    {"empty", T_OBJECT_EX, offsetof(Route, empty), READONLY},
    {"queued", T_OBJECT_EX, offsetof(Route, queued), READONLY},
    {"dropped", T_OBJECT_EX, offsetof(Route, dropped), READONLY},
    {"home", T_OBJECT_EX, offsetof(Route, home), READONLY},
    {"room", T_PYSSIZET, offsetof(Route, room), READONLY},
    {NULL},
};

/* The member of *self* that *member* describes, where it is an object. */
static PyObject **
held(Route *self, PyMemberDef *member)
{
    return member->type == T_OBJECT_EX ? (PyObject **)((char *)self + member->offset) : NULL;
}

static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    for (PyMemberDef *member = members; member->name != NULL; member++) {
        PyObject **place = held((Route *)self, member);
        if (place != NULL) {
            Py_VISIT(*place);
        }
    }
    return 0;
}

static void
dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    if (((Route *)self)->page.obj != NULL) {
        PyBuffer_Release(&((Route *)self)->page);
    }
    for (PyMemberDef *member = members; member->name != NULL; member++) {
        PyObject **place = held((Route *)self, member);
        if (place != NULL) {
            Py_CLEAR(*place);
        }
    }
    Py_XDECREF(((Route *)self)->isdisjoint);
    Py_TYPE(self)->tp_free(self);
}

/* What cannot work is refused here, so that the call path need not ask. */
static int
check(Route *self)
{
    if (!PyBytes_CheckExact(self->middle) || !PyBytes_CheckExact(self->prefix) ||
        !PyTuple_CheckExact(self->queues) || !PyTuple_CheckExact(self->entries) ||
        !PyTuple_CheckExact(self->appends) || !PyContextVar_CheckExact(self->context) ||
        !PyIter_Check(self->numbers)) {
        PyErr_SetString(PyExc_TypeError, "an argument of Route has the wrong type");
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(self->queues);
    if (PyTuple_GET_SIZE(self->entries) != count || PyTuple_GET_SIZE(self->appends) != count ||
        count > MOST_QUEUES) {
        PyErr_Format(PyExc_ValueError,
                     "queues, entries and appends must be equally many, and %d at most",
                     MOST_QUEUES);
        return -1;
    }
    /* The prefix follows the body, and must find room as well. */
    Py_ssize_t most = BUFFER_SIZE - PyBytes_GET_SIZE(self->prefix);
    self->room = Py_MAX(0, Py_MIN(self->room, most));
    if (PyObject_GetBuffer(self->home, &self->page, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (self->page.len < 1) {
        PyErr_SetString(PyExc_ValueError, "home must have a byte");
        return -1;
    }
    return 0;
}

static PyObject *
make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Route *self = (Route *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = call;
    self->isdisjoint = PyUnicode_InternFromString("isdisjoint");
    if (self->isdisjoint == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) != 0) {
        PyErr_SetString(PyExc_TypeError, "Route takes keywords only");
        Py_DECREF(self);
        return NULL;
    }
    for (PyMemberDef *member = members; member->name != NULL; member++) {
        PyObject *value = kwargs == NULL ? NULL : PyDict_GetItemString(kwargs, member->name);
        PyObject **place = held(self, member);
        if (value == NULL) {
            PyErr_Format(PyExc_TypeError, "Route needs the keyword %s", member->name);
        }
        else if (place != NULL) {
            *place = Py_NewRef(value);
        }
        else {
            self->room = PyLong_AsSsize_t(value);
        }
        if (PyErr_Occurred()) {
            Py_DECREF(self);
            return NULL;
        }
    }
    if (check(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyTypeObject Route_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hydra.engine._native.Route",
    .tp_doc = "A function that logs plain records, in front of one that knows every case.",
    .tp_basicsize = sizeof(Route),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Route, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_members = members,
    /* No tp_clear: one that was cleared could still be called. The Python function that stands
       in each cycle with it breaks the cycle. */
    .tp_traverse = traverse,
    .tp_dealloc = dealloc,
    .tp_new = make,
};
