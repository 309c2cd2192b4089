/*
 * The module `fallbacks._native`: a look at a file and an append to it, in one step.
 *
 * A thread that asks the system lets go of the interpreter, and beside a busy program it waits
 * up to 5 ms to have it back. Two looks and a write cost that three times, this costs it once.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>
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

/* Lines wait here until there are enough of them for a write: small enough for the caches. */
#define GATHERED (64 * 1024)

typedef struct {
    int fd;
    Py_ssize_t written;
    Py_ssize_t used;
    char *buffer;
} Append;

/* Write it all; return 0 where it stops early. */
static int
push(Append *append, const char *bytes, Py_ssize_t size)
{
    while (size > 0) {
        ssize_t taken = write(append->fd, bytes, (size_t)size);
        if (taken <= 0) {
            /* The caller goes on from here, and meets the error, or the signal, itself. */
            return 0;
        }
        append->written += taken;
        bytes += taken;
        size -= taken;
    }
    return 1;
}

static int
flush(Append *append)
{
    Py_ssize_t size = append->used;
    append->used = 0;
    return push(append, append->buffer, size);
}

/* Every write has whole lines, so that those of other processes do not get into them. */
static void
append_lines(Append *append, PyObject *lines)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lines); i++) {
        PyObject *line = PyTuple_GET_ITEM(lines, i);
        const char *bytes = PyBytes_AS_STRING(line);
        Py_ssize_t size = PyBytes_GET_SIZE(line);
        if (size > GATHERED - append->used && !flush(append)) {
            return;
        }
        if (size > GATHERED) {
            if (!push(append, bytes, size)) {
                return;
            }
            continue;
        }
        memcpy(append->buffer + append->used, bytes, (size_t)size);
        append->used += size;
    }
    flush(append);
}

static int
is_as_left(int fd, const char *path, const Known *known)
{
    struct stat open, named;
    return fstat(fd, &open) == 0 && stat(path, &named) == 0 && is_known(&open, known) &&
           is_known(&named, known) && open.st_size == known->size;
}

/* Return the size of all lines together, or -1 where one is something else. */
static Py_ssize_t
size_of(PyObject *lines)
{
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lines); i++) {
        PyObject *line = PyTuple_GET_ITEM(lines, i);
        if (!PyBytes_Check(line)) {
            return -1;
        }
        size += PyBytes_GET_SIZE(line);
    }
    return size;
}

static PyObject *
append_known(PyObject *module, PyObject *args)
{
    int fd, tried = 0;
    PyObject *path, *given;
    Known known;
    Py_buffer wanted;
    if (!PyArg_ParseTuple(args, "iO&(KK)LOy*:append_known", &fd, PyUnicode_FSConverter, &path,
                          &known.device, &known.inode, &known.size, &given, &wanted)) {
        return NULL;
    }
    /* A tuple of our own: nobody can take a line out of it meanwhile. */
    PyObject *lines = PySequence_Tuple(given);
    Append append = {.fd = fd, .buffer = PyMem_RawMalloc(GATHERED)};
    Py_ssize_t size = lines == NULL ? -1 : size_of(lines);
    if (wanted.len > 0 && size >= 0 && append.buffer != NULL) {
        Py_BEGIN_ALLOW_THREADS
        tried = is_as_left(fd, PyBytes_AS_STRING(path), &known) && *(volatile char *)wanted.buf;
        if (tried) {
            append_lines(&append, lines);
        }
        Py_END_ALLOW_THREADS
    }
    PyMem_RawFree(append.buffer);
    Py_XDECREF(lines);
    Py_DECREF(path);
    PyBuffer_Release(&wanted);
    if (lines == NULL) {
        return NULL;
    }
    return tried ? Py_BuildValue("nn", append.written, size) : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"append_known", append_known, METH_VARARGS,
     "append_known(fd, path, (device, inode), size, lines, wanted)\n--\n\n"
     "Append lines to the file that is open as fd and stands at path, if both are the one that is\n"
     "known, it has size bytes, and wanted holds a byte that is not zero. Return how many bytes\n"
     "were taken, and how many there are; or None where nothing was tried."},
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
