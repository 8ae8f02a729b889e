"""Runs dbt, in this process or in a second one, and reads what it built.

Imports database and core.
"""
