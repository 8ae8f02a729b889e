"""From what is wanted to a complete load: plan, fetch, compare, land with dlt.

Imports deribit, database and core.
"""
