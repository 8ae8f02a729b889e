"""The Python functions of `extract`: `backfill`, `update`, `build` and the dlt source.

May import everything but cli, which nothing imports.
"""
