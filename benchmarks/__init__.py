"""
How fast hydra is, beside its peers; nothing in here is needed to run it.

`python -m benchmarks` measures, `peers/` has one adapter for each library, and
`figures/` one module for each kind of figure. See docs/how-to/benchmarks.md.
"""
