"""The embedded TimescaleDB server: Debian's signed packages in a private folder, and its databases."""
