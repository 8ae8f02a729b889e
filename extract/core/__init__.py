"""What knows neither Deribit nor a database: resolutions, times, names, messages, advice.

Imports no other room.
"""
