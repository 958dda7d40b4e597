"""Measures: one file each, with `ROLES`: the parts that run in a process of their own. `main` is the whole."""
