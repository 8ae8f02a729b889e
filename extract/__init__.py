"""Extract and load: from the Deribit API, through dlt, into TimescaleDB's raw tables."""
