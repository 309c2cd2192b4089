"""
The scoreboard: one program, every library, the same faults; what of it is still there.

    python -m benchmarks.scoreboard [--only NAME] [--publish]

Rule 1: a record counts as acknowledged when its call has returned without raising, or
its `await` has resumed; the program writes that down in memory that outlives it.
Rule 2: a record counts as kept when a whole line of it is where it was to go, after the
next start of the program.
Rule 3: rows that speak against hydra stay.
"""
