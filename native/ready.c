/*
 * A class whose objects can be awaited and have nothing to wait for, but for a way to give.
 *
 * Most awaited calls end here. A method of Python's would be looked up and called each time,
 * which takes longer than all the rest of awaiting.
 */

#include "ready.h"

/* An iterator at its end: awaiting it goes on at once. */
static PyObject *at_once;

/* The iterator that gives way, for the next one who is awaited; NULL for none. */
static PyObject *next_way;

static PyObject *
await(PyObject *self)
{
    PyObject *way = next_way;
    next_way = NULL;
    return way == NULL ? Py_NewRef(at_once) : way;
}

PyObject *
ready_let_way(PyObject *module, PyObject *give_way)
{
    /* One that is there stays: to give up a generator may take memory, and where there is none
       the interpreter complains on standard error. */
    if (next_way == NULL) {
        PyObject *way = PyObject_CallNoArgs(give_way);
        if (way == NULL) {
            return NULL;
        }
        Py_XSETREF(next_way, way);
    }
    Py_RETURN_NONE;
}

PyObject *
ready_forget_way(PyObject *module, PyObject *unused)
{
    Py_CLEAR(next_way);
    Py_RETURN_NONE;
}

int
ready_set_up(void)
{
    PyObject *nothing = PyTuple_New(0);
    at_once = nothing == NULL ? NULL : PyObject_GetIter(nothing);
    Py_XDECREF(nothing);
    /* It keeps an empty tuple until it has been asked once. */
    return at_once == NULL || PyIter_Next(at_once) != NULL ? -1 : 0;
}

static PyAsyncMethods awaiting = {.am_await = await};

PyTypeObject Ready_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hydra.engine._native.Ready",
    .tp_doc = "What can be awaited and has nothing to wait for.",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_as_async = &awaiting,
    .tp_new = PyType_GenericNew,
};
