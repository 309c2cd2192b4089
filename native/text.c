/*
 * JSON text, byte for byte as the Python side writes it.
 *
 * Rule 1: control characters, DEL, C1 and the two separators U+2028 and U+2029 are escaped;
 * a line has no raw control character. Everything else outside ASCII is UTF-8.
 * Rule 2: half a surrogate pair has no UTF-8; the Python side knows what to do with it.
 */

#include "text.h"

#include <math.h>
#include <stdint.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

int
digits_of(unsigned long long number, char out[20])
{
    char reversed[20];
    int count = 0;
    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (int i = 0; i < count; i++) {
        out[i] = reversed[count - 1 - i];
    }
    return count;
}

int
put_integer(Buffer *buffer, long long number)
{
    char digits[20];
    unsigned long long size = number < 0 ? 0ULL - (unsigned long long)number
                                         : (unsigned long long)number;
    if (number < 0 && !put_bytes(buffer, "-", 1)) {
        return 0;
    }
    return put_bytes(buffer, digits, digits_of(size, digits));
}

/* The quotient of two integers that a double holds exactly is the double nearest to it. So where
   it is the number itself, the decimal is one that means the number; it has 15 digits at most,
   of which no two mean the same double; and no shorter one was found before. */
int
put_decimal(Buffer *buffer, double number)
{
    static const double scales[] = {1, 10, 100, 1000, 10000};
    double size = fabs(number);
    /* What is not a number is not below anything. */
    if (!(size < 1e9) || (number == 0 && signbit(number))) {
        return 0;
    }
    for (int places = 0; places < 5; places++) {
        double scaled = nearbyint(size * scales[places]);
        if (scaled / scales[places] != size) {
            continue;
        }
        unsigned long long whole = (unsigned long long)scaled, scale = 1;
        for (int i = 0; i < places; i++) {
            scale *= 10;
        }
        char digits[20];
        if ((number < 0 && !put_bytes(buffer, "-", 1)) ||
            !put_bytes(buffer, digits, digits_of(whole / scale, digits)) ||
            !put_bytes(buffer, ".", 1)) {
            return 0;
        }
        if (places == 0) {
            return put_bytes(buffer, "0", 1);
        }
        /* A one in front keeps the zeros. */
        digits_of(whole % scale + scale, digits);
        return put_bytes(buffer, digits + 1, places);
    }
    return 0;
}

void
put_three_digits(Buffer *buffer, unsigned number)
{
    *buffer->at++ = (char)('0' + number / 100);
    *buffer->at++ = (char)('0' + number / 10 % 10);
    *buffer->at++ = (char)('0' + number % 10);
}

/* Whether one of the eight bytes of *word* is zero. */
static inline uint64_t
has_zero(uint64_t word)
{
    return (word - ONES) & ~word & HIGHS;
}

/* Whether ASCII *bytes* can stand in JSON as they are. */
static int
is_clean(const unsigned char *bytes, Py_ssize_t size)
{
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        uint64_t control = (word - ONES * 0x20) & ~word & HIGHS;
        if (control | has_zero(word ^ (ONES * '"')) | has_zero(word ^ (ONES * '\\')) |
            has_zero(word ^ (ONES * 0x7f))) {
            return 0;
        }
        bytes += 8;
        size -= 8;
    }
    for (; size > 0; bytes++, size--) {
        if (*bytes < 0x20 || *bytes == '"' || *bytes == '\\' || *bytes == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static int
put_escape(Buffer *buffer, Py_UCS4 character)
{
    static const char hex[] = "0123456789abcdef";
    switch (character) {
    case '"': return put_bytes(buffer, "\\\"", 2);
    case '\\': return put_bytes(buffer, "\\\\", 2);
    case '\b': return put_bytes(buffer, "\\b", 2);
    case '\f': return put_bytes(buffer, "\\f", 2);
    case '\n': return put_bytes(buffer, "\\n", 2);
    case '\r': return put_bytes(buffer, "\\r", 2);
    case '\t': return put_bytes(buffer, "\\t", 2);
    }
    char code[] = {
        '\\', 'u', hex[character >> 12 & 15], hex[character >> 8 & 15],
        hex[character >> 4 & 15], hex[character & 15],
    };
    return put_bytes(buffer, code, 6);
}

static int
put_utf8(Buffer *buffer, Py_UCS4 character)
{
    char code[4];
    int size;
    if (character < 0x800) {
        code[0] = (char)(0xc0 | character >> 6);
        size = 2;
    }
    else if (character < 0x10000) {
        code[0] = (char)(0xe0 | character >> 12);
        code[1] = (char)(0x80 | (character >> 6 & 0x3f));
        size = 3;
    }
    else {
        code[0] = (char)(0xf0 | character >> 18);
        code[1] = (char)(0x80 | (character >> 12 & 0x3f));
        code[2] = (char)(0x80 | (character >> 6 & 0x3f));
        size = 4;
    }
    code[size - 1] = (char)(0x80 | (character & 0x3f));
    return put_bytes(buffer, code, size);
}

static int
put_character(Buffer *buffer, Py_UCS4 character)
{
    if (character < 0x20 || character == '"' || character == '\\' ||
        (character >= 0x7f && character < 0xa0) || character == 0x2028 || character == 0x2029) {
        return put_escape(buffer, character);
    }
    if (character < 0x80) {
        char plain = (char)character;
        return put_bytes(buffer, &plain, 1);
    }
    if (character >= 0xd800 && character < 0xe000) {
        return 0;
    }
    return put_utf8(buffer, character);
}

int
put_string(Buffer *buffer, PyObject *text)
{
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(text) < 0) {
        PyErr_Clear();
        return 0;
    }
#endif
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    if (buffer->end - buffer->at < size + 2) {
        return 0;
    }
    *buffer->at++ = '"';
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (PyUnicode_IS_ASCII(text) && is_clean(data, size)) {
        memcpy(buffer->at, data, (size_t)size);
        buffer->at += size;
    }
    else {
        for (Py_ssize_t i = 0; i < size; i++) {
            if (!put_character(buffer, PyUnicode_READ(kind, data, i))) {
                return 0;
            }
        }
    }
    return put_bytes(buffer, "\"", 1);
}
