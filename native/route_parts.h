/* What the files that make up a compiled route share. */

#ifndef HYDRA_ROUTE_PARTS_H
#define HYDRA_ROUTE_PARTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "route.h"
#include "text.h"

/* Longer lines take the careful way. */
#define BUFFER_SIZE 16384

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *careful;
    PyObject *encoder;
    PyObject *names;
    PyObject *encode;
    PyObject *context;
    PyObject *time_ns;
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

/* When a record is made, as its line says it. */
typedef struct {
    PyObject *start; /* how lines of this millisecond begin; a reference of its own */
    unsigned micros;
} Moment;

/* Whether fields with *names* and *values* can be written as they are, but for their size. */
int are_plain(Route *self, Py_ssize_t count, PyObject *const *names, PyObject *const *values);

/* Write the line up to its id; return 1, or 0 for what is not plain. */
int put_body(Route *self, Buffer *buffer, Moment *moment, PyObject *log, PyObject *message,
             Py_ssize_t count, PyObject *const *names, PyObject *const *values);

#endif
