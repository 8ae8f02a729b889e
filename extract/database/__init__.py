"""The database: connections, locks, privileges, the raw tables and their clean-up.

Imports only core.
"""
