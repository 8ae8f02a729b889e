"""Resolutions, times, names, messages, advice: nothing here needs Deribit or a database.

Imports no other room.
"""
