"""Embedded TimescaleDB: Debian's signed packages in a private folder, and how to reach any database."""
