/* Appending to a file that is as it was left. */

#ifndef FALLBACKS_APPEND_H
#define FALLBACKS_APPEND_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* append_known(fd, path, (device, inode), size, lines, wanted) */
PyObject *append_known(PyObject *module, PyObject *args);

#endif
