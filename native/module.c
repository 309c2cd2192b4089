/* The module `hydra.engine._native`: the call path for plain records, compiled. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "This relies on the interpreter's lock; without it, Python takes the Python functions."
#endif

#include "method.h"
#include "ready.h"
#include "route.h"

static PyMethodDef functions[] = {
    {"set_way", ready_set_way, METH_O,
     "set_way(way)\n--\n\n"
     "Have the next Ready that is awaited return this iterator."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hydra.engine._native",
    .m_doc = "The call path for plain records, compiled.",
    .m_methods = functions,
    /* Types and slots are found once per process: no subinterpreters, as with hydra itself. */
    .m_size = -1,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (ready_set_up() < 0 || PyModule_AddType(module, &Ready_Type) < 0 ||
                           PyModule_AddType(module, &Route_Type) < 0 ||
                           PyModule_AddType(module, &LevelMethod_Type) < 0 ||
                           PyModule_AddIntMacro(module, MOST_QUEUES) < 0)) {
        Py_CLEAR(module);
    }
    return module;
}
