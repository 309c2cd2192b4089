/*
 * A compiled route: what `hydra.engine._route.make_route` does for plain records, in C.
 *
 * Rule 1: all or nothing. What is not plain is left, before anything has been done, to the
 * Python function that is handed in; it knows every case, and both make the same bytes.
 * Rule 2: whatever may run Python code (the clock of a test, the tick of a millisecond) comes
 * first. From then on nothing does: no signal handler and no other thread can come between the
 * number, the line and the queue, and references that are borrowed stay valid.
 * Rule 3: what can fail for want of memory comes before the number is taken, but for the place
 * in the queue; a line that finds none is counted where it is missing.
 */

#include "route.h"

#include <stddef.h>
#include <structmember.h>
#include <time.h>

#include "slot.h"
#include "text.h"

/* Longer lines take the careful way; it is half of what a place of the default queue holds. */
#define BUFFER_SIZE 4096
#define MOST_FIELDS 64
#define MILLISECOND 1000000

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *careful;
    PyObject *encoder;
    PyObject *encode;
    PyObject *context;
    PyObject *time_ns; /* None: the system's clock */
    PyObject *middle;
    PyObject *prefix;
    PyObject *numbers;
    PyObject *queues;
    PyObject *entries;
    PyObject *appends;
    PyObject *send; /* takes the body; None: the line is queued right here */
    PyObject *lost;
    PyObject *empty;
    PyObject *queued;
    PyObject *dropped;
    PyObject *home;
    PyObject *isdisjoint; /* the name */
    Py_ssize_t room;
    Py_buffer page; /* of *home* */
} Route;

static Slot bound_slot = {"_bound"}, tracked_slot = {"_tracked"}, known_slot = {"known"},
            moment_slot = {"moment"}, limit_slot = {"limit"}, idle_slot = {"idle"},
            data_slot = {"data"}, keys_slot = {"keys"}, cut_slot = {"cut"},
            encoded_slot = {"encoded"};

/* -- the time */

typedef struct {
    PyObject *start; /* how lines of this millisecond begin; a reference of its own */
    unsigned micros;
} Moment;

/* Return 1, 0 for what is not plain, or -1 with an exception. */
static int
look_at_clock(Route *self, Moment *moment)
{
    long long now;
    if (self->time_ns == Py_None) {
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        now = (long long)time.tv_sec * 1000000000 + time.tv_nsec;
    }
    else {
        PyObject *told = PyObject_CallNoArgs(self->time_ns);
        if (told == NULL) {
            return -1;
        }
        now = PyLong_AsLongLong(told);
        Py_DECREF(told);
        if (now == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    PyObject *known = slot_get(&moment_slot, self->encoder);
    if (known == NULL || !PyTuple_CheckExact(known) || PyTuple_GET_SIZE(known) != 2) {
        return 0;
    }
    long long base = PyLong_AsLongLong(PyTuple_GET_ITEM(known, 0));
    if (base == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *start = PyTuple_GET_ITEM(known, 1);
    long long rest = now - base;
    if (rest >= 0 && rest < MILLISECOND) {
        Py_INCREF(start);
    }
    else {
        PyObject *struck = PyObject_CallMethod(self->encoder, "tick", "L", now);
        if (struck == NULL) {
            return -1;
        }
        if (!PyArg_ParseTuple(struck, "LO", &rest, &start)) {
            Py_DECREF(struck);
            return -1;
        }
        Py_INCREF(start);
        Py_DECREF(struck);
    }
    if (!PyBytes_CheckExact(start)) {
        Py_DECREF(start);
        return 0;
    }
    moment->start = start;
    moment->micros = (unsigned)(rest / 1000);
    return 1;
}

/* -- the line; each of these returns 1, or 0 for what is not plain */

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
    if (!PyFloat_CheckExact(value)) {
        return 0;
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

/* Write the line up to its id. */
static int
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

/* -- the queues */

/* Whether every queue takes a record without being asked. */
static int
have_room(Route *self)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->queues); i++) {
        PyObject *limit = slot_get(&limit_slot, PyTuple_GET_ITEM(self->queues, i));
        if (limit == NULL || !PyLong_CheckExact(limit) ||
            PyObject_Size(PyTuple_GET_ITEM(self->entries, i)) >= PyLong_AsSsize_t(limit)) {
            return 0;
        }
    }
    return 1;
}

/* Append *line* to every queue; return how many took it. With an exception, one that a signal
   handler raised: everything is done nevertheless. */
static Py_ssize_t
append(Route *self, PyObject *line, PyObject *number)
{
    Py_ssize_t count = PyTuple_GET_SIZE(self->appends), taken = 0;
    char missed[MOST_QUEUES] = {0};
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *done = PyObject_CallOneArg(PyTuple_GET_ITEM(self->appends, i), line);
        missed[i] = done == NULL;
        taken += done != NULL;
        PyErr_Clear();
        Py_XDECREF(done);
    }
    PyObject *type = NULL, *error = NULL, *trace = NULL;
    for (Py_ssize_t i = 0; taken < count && i < count; i++) {
        PyObject *told = missed[i] ? PyObject_CallFunction(self->lost, "On", number, i) : NULL;
        Py_XDECREF(told);
        if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
            /* Not even the note of it: the number that is missing will be told as lost. */
            PyErr_Clear();
        }
        else if (PyErr_Occurred()) {
            Py_CLEAR(type);
            Py_CLEAR(error);
            Py_CLEAR(trace);
            PyErr_Fetch(&type, &error, &trace);
        }
    }
    PyErr_Restore(type, error, trace);
    return taken;
}

/* Wake the writers that sleep. The record is queued, whatever is raised in here. */
static int
ring(Route *self)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->queues); i++) {
        PyObject *queue = PyTuple_GET_ITEM(self->queues, i);
        if (slot_get(&idle_slot, queue) == Py_False) {
            continue;
        }
        PyObject *done = PyObject_CallMethod(queue, "ring", NULL);
        if (done == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_MemoryError)) {
                return -1;
            }
            /* Whoever logs or flushes next rings for it. */
            PyErr_Clear();
        }
        Py_XDECREF(done);
    }
    return 0;
}

/* Wake them also where an exception is on its way; it goes on, and is the one that counts. */
static int
ring_anyway(Route *self)
{
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    int rung = ring(self);
    if (type == NULL) {
        return rung;
    }
    PyErr_Restore(type, error, trace);
    return -1;
}

/* Number the line in *buffer*, which has its prefix and no end yet, and queue it. */
static PyObject *
number_and_queue(Route *self, Buffer *buffer, char *begin)
{
    static const char ending[] = "\"}\n";
    Py_ssize_t size = buffer->at - begin;
    /* Made before there is a number, with room for every number there may be. */
    PyObject *line = PyBytes_FromStringAndSize(NULL, size + 20 + (Py_ssize_t)sizeof(ending));
    PyObject *number = line == NULL ? NULL : PyIter_Next(self->numbers);
    if (number == NULL) {
        Py_XDECREF(line);
        PyErr_Clear();
        return NULL;
    }
    char *at = PyBytes_AS_STRING(line);
    memcpy(at, begin, (size_t)size);
    size += digits_of(PyLong_AsUnsignedLongLong(number), at + size);
    /* With its last byte, which is that of every bytes object. */
    memcpy(at + size, ending, sizeof(ending));
    Py_SET_SIZE(line, size + (Py_ssize_t)sizeof(ending) - 1);
    Py_ssize_t taken = append(self, line, number);
    Py_DECREF(line);
    Py_DECREF(number);
    if (ring_anyway(self) < 0) {
        return NULL;
    }
    return Py_NewRef(taken ? self->queued : self->dropped);
}

PyObject *
route_short(PyObject *route, PyObject *log, PyObject *message, Py_ssize_t count,
            PyObject *const *names, PyObject *const *values)
{
    Route *self = (Route *)route;
    char bytes[BUFFER_SIZE];
    Buffer buffer = {bytes, bytes + self->room};
    Moment moment;
    if (!PyUnicode_CheckExact(message) || slot_get(&tracked_slot, log) != Py_False) {
        return NULL;
    }
    int found = look_at_clock(self, &moment);
    if (found <= 0) {
        if (found < 0 && PyErr_ExceptionMatches(PyExc_MemoryError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *known = slot_get(&known_slot, self->encoder);
    int plain = known != NULL && PyAnySet_CheckExact(known);
    for (Py_ssize_t i = 0; plain && i < count; i++) {
        plain = PyUnicode_CheckExact(names[i]) && PySet_Contains(known, names[i]) == 1;
    }
    plain = plain && put_body(self, &buffer, &moment, log, message, count, names, values);
    Py_DECREF(moment.start);
    if (!plain || !*(char *)self->page.buf) {
        PyErr_Clear();
        return NULL;
    }
    if (self->send != Py_None) {
        PyObject *body = PyBytes_FromStringAndSize(bytes, buffer.at - bytes);
        if (body == NULL) {
            PyErr_Clear();
            return NULL;
        }
        PyObject *receipt = PyObject_CallOneArg(self->send, body);
        Py_DECREF(body);
        if (receipt == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
            /* It has found no memory to begin with; the Python function may find some. */
            PyErr_Clear();
        }
        return receipt;
    }
    if (!have_room(self)) {
        PyErr_Clear();
        return NULL;
    }
    buffer.end = bytes + BUFFER_SIZE;
    return put_object(&buffer, self->prefix) ? number_and_queue(self, &buffer, bytes) : NULL;
}

PyObject *
route_careful(PyObject *route)
{
    return ((Route *)route)->careful;
}

/* -- the type */

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

static int
clear(PyObject *self)
{
    for (PyMemberDef *member = members; member->name != NULL; member++) {
        PyObject **place = held((Route *)self, member);
        if (place != NULL) {
            Py_CLEAR(*place);
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
    clear(self);
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
    return PyObject_GetBuffer(self->home, &self->page, PyBUF_SIMPLE);
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
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_dealloc = dealloc,
    .tp_new = make,
};
