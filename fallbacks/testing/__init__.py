"""
What tests of tiers need: a clock, a tier and a file system that fail on demand.
"""
