"""Checks of the built tables against Deribit: gaps to repair, verify, reconcile.

Imports load, transform and what these import.
"""
