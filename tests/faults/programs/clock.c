/*
 * Interposes clock_gettime: with each call the wall clock is a day early or late, or in 1970.
 * All other clocks are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

#define DAY 86400

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    static atomic_uint calls;
    int status;

    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    status = real(clock, now);
    if (clock == CLOCK_REALTIME)
        switch (atomic_fetch_add(&calls, 1) % 4) {
        case 1: now->tv_sec += DAY; break;
        case 2: now->tv_sec -= DAY; break;
        case 3: now->tv_sec = 0; break;
        }
    return status;
}
