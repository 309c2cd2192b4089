"""
The soak: mixed load for minutes, faults that come and go, and then every record is asked for.

    python -m benchmarks.soak [--seconds 600] [--seed N] [--directory DIR] [--plot FILE]

Rule 1: the seed decides which fault comes when; a run can be repeated.
Rule 2: the loaded process writes each acknowledged ERROR down for itself, in a file that
outlives it, and is asked for exactly those.
Rule 3: what is judged are files and numbers, in functions that are tested with planted
losses, duplicates and leaks.
"""
