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
    {"let_way", ready_let_way, METH_O,
     "let_way(give_way)\n--\n\n"
     "Have the next Ready that is awaited return what this function does, unless there is such\n"
     "a way to go already."},
    {"forget_way", ready_forget_way, METH_NOARGS,
     "forget_way()\n--\n\nHave none of them give way."},
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
