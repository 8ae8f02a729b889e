"""The Deribit public API alone: requests, retries, the rate budget, checked replies. Knows no dlt."""
