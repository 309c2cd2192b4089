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

#include "route_parts.h"

#include "slot.h"

#define MILLISECOND 1000000

static Slot tracked_slot = {.name = "_tracked"};
static Slot moment_slot = {.name = "moment"};
static Slot limit_slot = {.name = "limit"};
static Slot idle_slot = {.name = "idle"};
static Slot unit_slot = {.name = "unit"};

/* -- the time */

/* Ask a clock; where it is a function in C, as the system's is, without the way of a call. */
static PyObject *
ask(PyObject *clock)
{
    if (PyCFunction_Check(clock) && PyCFunction_GET_FLAGS(clock) == METH_NOARGS) {
        return PyCFunction_GET_FUNCTION(clock)(PyCFunction_GET_SELF(clock), NULL);
    }
    return PyObject_CallNoArgs(clock);
}

/* Return 1, 0 for what is not plain, or -1 with an exception. */
static int
look_at_clock(Route *self, Moment *moment)
{
    PyObject *told = ask(self->time_ns);
    if (told == NULL) {
        return -1;
    }
    int overflow;
    long long now = PyLong_AsLongLongAndOverflow(told, &overflow);
    Py_DECREF(told);
    if (overflow || (now == -1 && PyErr_Occurred())) {
        return overflow ? 0 : -1;
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

/* Append *item* to queue number *place*; return whether there was memory for it. */
static int
append(Route *self, Py_ssize_t place, PyObject *item)
{
    PyObject *done = PyObject_CallOneArg(PyTuple_GET_ITEM(self->appends, place), item);
    if (done == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(done);
    return 1;
}

/* Fill the places of queue number *place* that *line* takes beyond its first. */
static void
pad(Route *self, Py_ssize_t place, PyObject *line)
{
    PyObject *unit = slot_get(&unit_slot, PyTuple_GET_ITEM(self->queues, place));
    Py_ssize_t most = unit == NULL ? 0 : PyLong_AsSsize_t(unit);
    for (Py_ssize_t left = PyBytes_GET_SIZE(line) - most; most > 0 && left > 0; left -= most) {
        append(self, place, Py_None);
    }
    PyErr_Clear();
}

/* Have *number* counted as dropped at the queues that have *missed* it. With an exception, one
   that a signal handler raised: everything is told nevertheless. */
static void
tell_lost(Route *self, PyObject *number, const char *missed)
{
    PyObject *type = NULL, *error = NULL, *trace = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->queues); i++) {
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
}

/* Append *line* to every queue; return how many took it. An exception is that of `tell_lost`. */
static Py_ssize_t
append_to_all(Route *self, PyObject *line, PyObject *number)
{
    Py_ssize_t count = PyTuple_GET_SIZE(self->appends), taken = 0;
    char missed[MOST_QUEUES] = {0};
    for (Py_ssize_t i = 0; i < count; i++) {
        missed[i] = !append(self, i, line);
        if (!missed[i]) {
            pad(self, i, line);
            taken++;
        }
    }
    if (taken < count) {
        tell_lost(self, number, missed);
    }
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
    /* Made before there is a number, with room for every number there may be, and shortened
       below without a second allocation, which could fail when there is one. */
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
    Py_ssize_t taken = append_to_all(self, line, number);
    Py_DECREF(line);
    Py_DECREF(number);
    if (ring_anyway(self) < 0) {
        return NULL;
    }
    return Py_NewRef(taken ? self->queued : self->dropped);
}

/* Leave a record to the Python function: whatever failed here, it will meet again there. */
static PyObject *
leave(void)
{
    PyErr_Clear();
    return NULL;
}

PyObject *
route_short(PyObject *route, PyObject *log, PyObject *message, Py_ssize_t count,
            PyObject *const *names, PyObject *const *values)
{
    Route *self = (Route *)route;
    char bytes[BUFFER_SIZE];
    Buffer buffer = {bytes, bytes + self->room};
    Moment moment;
    /* All of this first: a clock that steps when it is asked, as in tests, is asked once. */
    if (!PyUnicode_CheckExact(message) || slot_get(&tracked_slot, log) != Py_False ||
        !are_plain(self, count, names, values)) {
        return leave();
    }
    int found = look_at_clock(self, &moment);
    if (found <= 0) {
        if (found < 0 && PyErr_ExceptionMatches(PyExc_MemoryError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    int plain = put_body(self, &buffer, &moment, log, message, count, names, values);
    Py_DECREF(moment.start);
    if (!plain || !*(char *)self->page.buf) {
        return leave();
    }
    if (self->send != Py_None) {
        PyObject *body = PyBytes_FromStringAndSize(bytes, buffer.at - bytes);
        if (body == NULL) {
            return leave();
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
        return leave();
    }
    buffer.end = bytes + BUFFER_SIZE;
    return put_object(&buffer, self->prefix) ? number_and_queue(self, &buffer, bytes) : NULL;
}

PyObject *
route_give_up(PyObject *route)
{
    Route *self = (Route *)route;
    PyErr_Clear();
    PyObject *number = *(char *)self->page.buf ? PyIter_Next(self->numbers) : NULL;
    if (number != NULL) {
        char missed[MOST_QUEUES];
        memset(missed, 1, sizeof(missed));
        tell_lost(self, number, missed);
        Py_DECREF(number);
    }
    else {
        PyErr_Clear();
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(self->dropped);
}

PyObject *
route_careful(PyObject *route)
{
    return ((Route *)route)->careful;
}
