/*
 * A compiled method: `log.info(...)` without a frame of Python.
 *
 * It looks the level's route up in the logger's routes and calls it with the arguments as they
 * lie on the interpreter's stack. Whatever is unusual goes to the Python function that it
 * stands for, which is also what documentation, signatures and pickles see.
 */

#include "method.h"

#include <stddef.h>
#include <structmember.h>

#include "route.h"
#include "slot.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;
    PyObject *level;
    PyObject *filtered;
    PyObject *references; /* weak ones, to this */
} LevelMethod;

static Slot routes_slot = {.name = "_routes"};
static Slot by_level_slot = {.name = "by_level"};

/* Return what the routes of *log* have for the level: borrowed, or NULL where they do not say. */
static PyObject *
find_route(LevelMethod *self, PyObject *log)
{
    PyObject *routes = slot_get(&routes_slot, log);
    PyObject *by_level = routes == NULL ? NULL : slot_get(&by_level_slot, routes);
    if (by_level == NULL || !PyDict_CheckExact(by_level)) {
        return NULL;
    }
    PyObject *route = PyDict_GetItemWithError(by_level, self->level);
    PyErr_Clear();
    return route;
}

/* Call the route's Python function, as the method's own would. */
static PyObject *
call_careful(PyObject *route, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *receipt = NULL;
    PyObject *more = PyTuple_New(nargs - 2), *fields = PyDict_New();
    if (more != NULL && fields != NULL) {
        for (Py_ssize_t i = 2; i < nargs; i++) {
            PyTuple_SET_ITEM(more, i - 2, Py_NewRef(args[i]));
        }
        Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
        int failed = 0;
        for (Py_ssize_t i = 0; i < count && !failed; i++) {
            failed = PyDict_SetItem(fields, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]);
        }
        PyObject *stack[] = {args[0], args[1], more, fields};
        receipt = failed ? NULL : PyObject_Vectorcall(route_careful(route), stack, 4, NULL);
    }
    Py_XDECREF(more);
    Py_XDECREF(fields);
    return receipt;
}

static PyObject *
call(PyObject *method, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    LevelMethod *self = (LevelMethod *)method;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *route = nargs < 2 ? NULL : find_route(self, args[0]);
    if (route == Py_None) {
        return Py_NewRef(self->filtered);
    }
    if (route == NULL || !Py_IS_TYPE(route, &Route_Type)) {
        return PyObject_Vectorcall(self->function, args, nargsf, kwnames);
    }
    /* A configuration that changes meanwhile throws it out of the table. */
    Py_INCREF(route);
    PyObject *receipt = NULL;
    if (nargs == 2) {
        Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
        PyObject *const *names = kwnames == NULL ? NULL : &PyTuple_GET_ITEM(kwnames, 0);
        receipt = route_short(route, args[0], args[1], count, names, args + nargs);
    }
    if (receipt == NULL && !PyErr_Occurred()) {
        receipt = call_careful(route, args, nargs, kwnames);
        if (receipt == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
            /* That function raises none of its own: it was not even begun. */
            receipt = route_give_up(route);
        }
    }
    Py_DECREF(route);
    return receipt;
}

static PyObject *
get(PyObject *self, PyObject *log, PyObject *type)
{
    return log == NULL || log == Py_None ? Py_NewRef(self) : PyMethod_New(self, log);
}

/* Names, annotations and whatever else is asked are those of the function. */
static PyObject *
get_attribute(PyObject *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return found;
    }
    PyErr_Clear();
    return PyObject_GetAttr(((LevelMethod *)self)->function, name);
}

static PyObject *
get_doc(PyObject *self, void *closure)
{
    return PyObject_GetAttrString(((LevelMethod *)self)->function, "__doc__");
}

/* Tools that look for functions (`inspect`, `unittest.mock`, `help`) find one. */
static PyObject *
get_class(PyObject *self, void *closure)
{
    return PyObject_GetAttrString(((LevelMethod *)self)->function, "__class__");
}

/* Pickled by its name, as a function is. */
static PyObject *
reduce(PyObject *self, PyObject *ignored)
{
    return PyObject_GetAttrString(((LevelMethod *)self)->function, "__qualname__");
}

static PyObject *
represent(PyObject *self)
{
    return PyObject_Repr(((LevelMethod *)self)->function);
}

static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((LevelMethod *)self)->function);
    Py_VISIT(((LevelMethod *)self)->level);
    Py_VISIT(((LevelMethod *)self)->filtered);
    return 0;
}

static int
clear(PyObject *self)
{
    Py_CLEAR(((LevelMethod *)self)->function);
    Py_CLEAR(((LevelMethod *)self)->level);
    Py_CLEAR(((LevelMethod *)self)->filtered);
    return 0;
}

static void
dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    if (((LevelMethod *)self)->references != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    clear(self);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *
make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"function", "level", "filtered", NULL};
    PyObject *function, *level, *filtered;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O:LevelMethod", keywords, &function,
                                     &PyLong_Type, &level, &filtered)) {
        return NULL;
    }
    LevelMethod *self = (LevelMethod *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->vectorcall = call;
        self->function = Py_NewRef(function);
        self->level = Py_NewRef(level);
        self->filtered = Py_NewRef(filtered);
    }
    return (PyObject *)self;
}

static PyMemberDef members[] = {
    {"__wrapped__", T_OBJECT_EX, offsetof(LevelMethod, function), READONLY},
    {NULL},
};

static PyGetSetDef properties[] = {
    {"__doc__", get_doc},
    {"__class__", get_class},
    {NULL},
};

static PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS},
    {NULL},
};

PyTypeObject LevelMethod_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hydra.engine._native.LevelMethod",
    .tp_basicsize = sizeof(LevelMethod),
    /* Looked up on a logger, it is called with the logger in front, and no object is made. */
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_vectorcall_offset = offsetof(LevelMethod, vectorcall),
    .tp_weaklistoffset = offsetof(LevelMethod, references),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = get,
    .tp_getattro = get_attribute,
    .tp_repr = represent,
    .tp_members = members,
    .tp_getset = properties,
    .tp_methods = methods,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_dealloc = dealloc,
    .tp_new = make,
};
