/*
 * The module `fallbacks._native`: a look at a file and an append to it, in one step.
 *
 * A thread that asks the system lets go of the interpreter, and beside a busy program it waits
 * up to 5 ms to have it back. Two looks and a write cost that three times, this costs it once.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a file was seen to be, and how long. */
typedef struct {
    unsigned long long device;
    unsigned long long inode;
    long long size;
} Known;

static int
is_known(const struct stat *facts, const Known *known)
{
    return (unsigned long long)facts->st_dev == known->device &&
           (unsigned long long)facts->st_ino == known->inode;
}

/* Return how many bytes were written, or -1 where the file is not as it was. */
static Py_ssize_t
append_all(int fd, const char *path, const Known *known, const volatile char *wanted,
           const char *bytes, Py_ssize_t size)
{
    struct stat open, named;
    if (fstat(fd, &open) != 0 || stat(path, &named) != 0 || !is_known(&open, known) ||
        !is_known(&named, known) || open.st_size != known->size || !*wanted) {
        return -1;
    }
    Py_ssize_t written = 0;
    while (written < size) {
        ssize_t taken = write(fd, bytes + written, (size_t)(size - written));
        if (taken <= 0) {
            /* The caller goes on from here, and meets the error, or the signal, itself. */
            break;
        }
        written += taken;
    }
    return written;
}

static PyObject *
append_known(PyObject *module, PyObject *args)
{
    int fd;
    PyObject *path;
    Known known;
    Py_buffer data, wanted;
    if (!PyArg_ParseTuple(args, "iO&(KK)Ly*y*:append_known", &fd, PyUnicode_FSConverter, &path,
                          &known.device, &known.inode, &known.size, &data, &wanted)) {
        return NULL;
    }
    Py_ssize_t written = -1;
    if (wanted.len > 0) {
        Py_BEGIN_ALLOW_THREADS
        written = append_all(fd, PyBytes_AS_STRING(path), &known, wanted.buf, data.buf, data.len);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(path);
    PyBuffer_Release(&data);
    PyBuffer_Release(&wanted);
    return written < 0 ? Py_NewRef(Py_None) : PyLong_FromSsize_t(written);
}

static PyMethodDef functions[] = {
    {"append_known", append_known, METH_VARARGS,
     "append_known(fd, path, (device, inode), size, data, wanted)\n--\n\n"
     "Append data to the file that is open as fd and stands at path, if both are the one that is\n"
     "known, it has size bytes, and wanted holds a byte that is not zero. Return how many bytes\n"
     "were taken, or None where nothing was tried."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fallbacks._native",
    .m_doc = "A look at a file and an append to it, in one step.",
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModule_Create(&definition);
}
