"""Adapters: one file a tool, each with a class `Adapter`; base.py has the interface, README.md how to add one."""
