/* The module `fallbacks._native`: what waits for the system, compiled. */

#include "append.h"

#include "handover.h"

static PyObject *
call_waive(PyObject *module, PyObject *unused)
{
    return PyBool_FromLong(waive());
}

static PyObject *
call_hand_over(PyObject *module, PyObject *unused)
{
    hand_over();
    Py_RETURN_NONE;
}

static PyObject *
call_claim(PyObject *module, PyObject *seconds)
{
    double given = PyFloat_AsDouble(seconds);
    if (given == -1 && PyErr_Occurred()) {
        return NULL;
    }
    claim((long long)(given * 1e9));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"append_known", append_known, METH_VARARGS,
     "append_known(fd, path, (device, inode), size, lines, wanted)\n--\n\n"
     "Append lines to the file that is open as fd and stands at path, if both are the one that is\n"
     "known, it has size bytes, and wanted holds a byte that is not zero. Return how many bytes\n"
     "were taken, and how many there are; or None where nothing was tried."},
    {"claim", call_claim, METH_O,
     "claim(seconds)\n--\n\n"
     "Note that some thread will have work to do in so many seconds that needs the interpreter."},
    {"waive", call_waive, METH_NOARGS,
     "waive()\n--\n\nNote that none has; return whether one had."},
    {"hand_over", call_hand_over, METH_NOARGS,
     "hand_over()\n--\n\nLet a thread that has claimed the interpreter have it."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fallbacks._native",
    .m_doc = "What waits for the system, compiled.",
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModule_Create(&definition);
}
