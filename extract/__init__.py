"""Deribit perpetuals, from the public API to tested tables in TimescaleDB.

Rooms, each importing only from those after it: cli; check, report and doctor; load, transform and embedded;
database and deribit; core. The simulator stands beside them.
"""

__version__ = "0.1.0"
