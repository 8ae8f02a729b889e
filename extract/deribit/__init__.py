"""The Deribit public API: requests, retries, the rate budget, checked replies. Does not depend on dlt."""
