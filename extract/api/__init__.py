"""What a Python user imports from `extract`: candles loaded and built, and the dlt source.

May import everything but cli, which nothing imports.
"""
