"""The report: what is in the tables, what is missing and what looks wrong."""
