"""The Deribit public API: requests, retries, the request budget, checked replies. Does not depend on dlt.

A note such as (FACTS: seen) shows how well a fact about Deribit is known; docs/deribit.md explains the words.
"""
