"""The report: what is in the table, what is missing and what looks wrong."""
