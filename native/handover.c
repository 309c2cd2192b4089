/*
 * The interpreter changes hands when somebody has waited for it for its switch interval, 5 ms.
 * But whoever waits is woken each time that it is let go of, if only for a microsecond, mostly
 * finds it taken again, and begins to wait anew. A loop that turns each millisecond lets go of
 * it each millisecond, and can keep a thread waiting for as long as it is busy.
 *
 * Rule: all of this is a hint. No lock is taken, and one that comes to nothing costs little.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handover.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

/* How often for one claim: the thread may have other reasons to get nowhere. */
#define TRIES 50

/* Nanoseconds: twice what it takes to wake a thread. */
#define PATIENCE 100000

static atomic_int tries;
static atomic_llong due;

static long long
monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void
claim(long long nanoseconds)
{
    atomic_store(&due, monotonic() + nanoseconds);
    atomic_store(&tries, TRIES);
}

int
waive(void)
{
    return atomic_exchange(&tries, 0) > 0;
}


void
hand_over(void)
{
    int left = atomic_load(&tries);
    if (left == 0 || monotonic() < atomic_load(&due)) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    long long end = monotonic() + PATIENCE;
    while (atomic_load(&tries) == left && monotonic() < end) {
        sched_yield();
    }
    Py_END_ALLOW_THREADS
    /* Unless it is another claim by now. */
    atomic_compare_exchange_strong(&tries, &left, left - 1);
}
