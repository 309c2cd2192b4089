/* Writing JSON text into a buffer of fixed size. */

#ifndef HYDRA_TEXT_H
#define HYDRA_TEXT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct {
    char *at;
    char *end;
} Buffer;

/* Each returns 1, or 0 where it has written an unknown part: no room, or text that
   is no valid Unicode. None raises. */
int put_bytes(Buffer *buffer, const char *bytes, Py_ssize_t size);
int put_object(Buffer *buffer, PyObject *bytes);
int put_integer(Buffer *buffer, long long number);
int put_string(Buffer *buffer, PyObject *text);

/* Three digits of a number below 1000; the caller has seen to the room. */
void put_three_digits(Buffer *buffer, unsigned number);

/* Write *number*, above zero, and return how many digits it has. */
int digits_of(unsigned long long number, char out[20]);

#endif
