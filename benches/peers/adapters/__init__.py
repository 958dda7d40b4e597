"""Adapters: one file a tool, each with a class `Adapter`. See base.py for the interface and README.md for how to add one."""
