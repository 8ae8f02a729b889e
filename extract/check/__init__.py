"""What is held against Deribit once it is built: gaps to repair, verify, reconcile.

Imports load, transform and what these import.
"""
