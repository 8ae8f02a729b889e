"""A plain client that does nothing with replies: prints what the simulator can serve, as JSON.

Run as a process: address, replies to ask for, connections.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

from tests.benchmarks.spans import BTC, ROWS_PER_REQUEST, newest

_MINUTE_MS = 60_000


def ask(address: str, numbers: range) -> int:
    """Ask for the windows of these numbers, one after the other; return how many bytes came."""
    url, span, size = urlsplit(address), newest(1_000_000), 0
    windows = (span.end_ms - span.start_ms) // (ROWS_PER_REQUEST * _MINUTE_MS)
    connection = http.client.HTTPConnection(url.netloc)
    for number in numbers:
        start = span.start_ms + number % windows * ROWS_PER_REQUEST * _MINUTE_MS
        window = {"start_timestamp": start, "end_timestamp": start + ROWS_PER_REQUEST * _MINUTE_MS}
        query = urlencode({"instrument_name": BTC, "resolution": "1", **window})
        connection.request("GET", f"{url.path}/public/get_tradingview_chart_data?{query}")
        answer = connection.getresponse()
        size += len(answer.read())
        if answer.status != 200:
            raise SystemExit(f"expected an answer, got HTTP {answer.status}")
    return size


def main(address: str, replies: int, connections: int) -> None:
    """Ask over several connections at once and print replies, seconds and bytes."""
    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        shares = [range(first, replies, connections) for first in range(connections)]
        size = sum(pool.map(ask, [address] * connections, shares))
    print(json.dumps({"replies": replies, "seconds": time.monotonic() - began, "bytes": size}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
