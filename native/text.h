/* Writing JSON text into a buffer of fixed size. */

#ifndef HYDRA_TEXT_H
#define HYDRA_TEXT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

typedef struct {
    char *at;
    char *end;
} Buffer;

/* Each of these returns 1, or 0 where it has written an unknown part: no room, or text that
   is no valid Unicode. None raises. */

static inline int
put_bytes(Buffer *buffer, const char *bytes, Py_ssize_t size)
{
    if (buffer->end - buffer->at < size) {
        return 0;
    }
    memcpy(buffer->at, bytes, (size_t)size);
    buffer->at += size;
    return 1;
}

static inline int
put_object(Buffer *buffer, PyObject *bytes)
{
    return put_bytes(buffer, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
}

int put_integer(Buffer *buffer, long long number);
int put_string(Buffer *buffer, PyObject *text);

/* Write a number with four decimals at most; 0 also for any other. */
int put_decimal(Buffer *buffer, double number);

/* Three digits of a number below 1000; the caller has seen to the room. */
void put_three_digits(Buffer *buffer, unsigned number);

/* Write *number*, and return how many digits it has. */
int digits_of(unsigned long long number, char out[20]);

#endif
