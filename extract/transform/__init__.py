"""dbt, in this process or in one beside it, and what it built.

Imports database and core.
"""
