"""The Python functions of `extract`: `backfill`, `update`, `build` and the dlt source.

Imports any room except cli.
"""
