"""The tables for programs: as Arrow, pandas or polars, and as Parquet and CSV files.

Imports settings, transform, database and core.
"""
