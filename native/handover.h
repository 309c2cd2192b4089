/* Handing the interpreter over to a thread that waits for it. */

#ifndef FALLBACKS_HANDOVER_H
#define FALLBACKS_HANDOVER_H

/* Note that some thread has, or will have in so many *nanoseconds*, work to do that needs the
   interpreter. */
void claim(long long nanoseconds);

/* Note that none has; return whether one had. */
int waive(void);

/* Where a thread has: let go of the interpreter, which the caller holds, for long enough that
   it can be taken. */
void hand_over(void);

#endif
