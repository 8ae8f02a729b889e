"""The database as loads see it: connection, locks, privileges, the raw tables and what is swept from them.

Imports core alone.
"""
