/*
 * A look at a file and an append to it, in one step.
 *
 * A thread that asks the system lets go of the interpreter, and beside a busy program it waits
 * up to 5 ms to have it back. Two looks and a write cost that three times, this costs it once.
 */

#include "append.h"

#include "handover.h"

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

/* So many lines ahead are asked for: they were written on another processor. */
#define AHEAD 16

/* Return a tuple of *lines*, which nobody else can take one out of, and their size together;
   NULL without an exception where one is something else. */
static PyObject *
keep(PyObject *lines, Py_ssize_t *size)
{
    PyObject *fast = PySequence_Fast(lines, "lines must be a sequence");
    if (fast == NULL) {
        return NULL;
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    /* First, since a collection may run for it, and with it anybody's code. */
    PyObject *kept = PyTuple_New(count), **items = PySequence_Fast_ITEMS(fast);
    if (kept != NULL && PySequence_Fast_GET_SIZE(fast) != count) {
        Py_CLEAR(kept);
    }
    for (Py_ssize_t i = 0; kept != NULL && i < count; i++) {
        if (i + AHEAD < count) {
            __builtin_prefetch(items[i + AHEAD], 1);
        }
        if (!PyBytes_Check(items[i])) {
            Py_CLEAR(kept);
            break;
        }
        *size += PyBytes_GET_SIZE(items[i]);
        PyTuple_SET_ITEM(kept, i, Py_NewRef(items[i]));
    }
    Py_DECREF(fast);
    return kept;
}

PyObject *
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
    Py_ssize_t size = 0;
    PyObject *lines = keep(given, &size);
    Append append = {.fd = fd, .buffer = PyMem_RawMalloc(GATHERED)};
    if (wanted.len > 0 && lines != NULL && append.buffer != NULL) {
        Py_BEGIN_ALLOW_THREADS
        /* Not while this writes. */
        int claimed = waive();
        tried = is_as_left(fd, PyBytes_AS_STRING(path), &known) && *(volatile char *)wanted.buf;
        if (tried) {
            append_lines(&append, lines);
        }
        if (claimed) {
            claim(0);
        }
        Py_END_ALLOW_THREADS
    }
    PyMem_RawFree(append.buffer);
    Py_XDECREF(lines);
    Py_DECREF(path);
    PyBuffer_Release(&wanted);
    if (PyErr_Occurred()) {
        return NULL;
    }
    return tried ? Py_BuildValue("nn", append.written, size) : Py_NewRef(Py_None);
}
