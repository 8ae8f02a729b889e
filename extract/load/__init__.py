"""Loads candles: plans windows, fetches them, compares them with the raw tables, and lands them with dlt.

Imports deribit, database and core.
"""
