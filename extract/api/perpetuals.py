"""The dlt source for any pipeline: `deribit_perpetuals`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

import dlt
from dlt.common.configuration.specs import BaseConfiguration
from dlt.extract import DltResource

from extract.core.names import is_all, parse_endpoints, split_names
from extract.core.resolution import Resolution, parse_resolution
from extract.core.times import Time, as_typed, parse_time
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument
from extract.errors import PerpsError, UsageError
from extract.load.endpoint import endpoints
from extract.load.lifetimes import find_delisted
from extract.load.perpetuals import Exchange, stream_rows
from extract.load.plan import DEFAULT_LOOKBACK
from extract.load.resources import CONTRACT, instruments_resource, series_cursor, series_resource
from extract.load.selection import choose, expect_known
from extract.load.state import EPOCH
from extract.settings import DEFAULT_BURST, read_api


# an empty spec: otherwise dlt would read arguments from variables such as START or API_URL, meant for others
@dlt.source(name="deribit_perpetuals", max_table_nesting=0, schema_contract=CONTRACT, spec=BaseConfiguration)
def deribit_perpetuals(
    instruments: str | Sequence[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    only: str | Sequence[str] = (),
    lookback: int = DEFAULT_LOOKBACK,
    api_url: str | None = None,
    requests_per_second: float | None = None,
) -> Iterable[DltResource]:
    """Candles, funding and settlements of Deribit's perpetuals, as a dlt source for any pipeline.

    The table `candles` has instrument, resolution, timestamp (bucket open, UTC), open, high, low and close
    (quote coin), volume (base coin) and cost (quote coin), as doubles. It is merged on the first three, so
    that a revised candle replaces the older one; `apply_hints` changes that as for any resource. The table
    `funding` has instrument, timestamp (end of the hour, UTC), interest_1h and interest_8h (fractions of the
    position), index_price and prev_index_price (quote coin). The table `settlements` has instrument,
    timestamp (shortly after 08:00 UTC), position (open interest; in USD for inverse perpetuals), mark_price
    and index_price (quote coin), profit_loss and session_profit_loss (settlement coin). The table
    `instruments` has one row per perpetual. Each series is a resource with its own incremental cursor, named
    `candles <name> <resolution>`, `funding <name> 60` or `settlements <name> 1D`. A run loads the rows since
    the last run, and only candles that are closed by Deribit's clock.

    If a window has no usable reply, its series ends there for this run: the rows before it land, the cursor
    stays before it, and the next run fetches it again. `pipeline.run` still succeeds; the window is logged as
    an error, and named in `pipeline.state["sources"]["deribit_perpetuals"]["failed"]`, which is empty or
    absent when no window failed. If the extract raises, nothing lands, as always with dlt, and the next run
    fetches everything again.

    Args:
        instruments: names, such as ["BTC-PERPETUAL"], or "all" for every listed perpetual. A delisted
            perpetual, if named, is loaded up to its last candle with volume.
        start: inclusive, of bucket opens; a date, an ISO time, a datetime or UTC ms. Without a time zone it
            is UTC. Default: the listing. Ignored once there is a cursor.
        end: exclusive, in the same forms. A range with an end is loaded as a whole in every run, and neither
            uses nor moves a cursor, as `end_value` of dlt's `incremental`. Default: the end of the last
            closed bucket.
        resolution: of candles, in minutes, or `1D`: 1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1D.
        only: what to load: `candles`, `funding`, `settlements`, or several of them. Default: all three.
        lookback: number of rows before each cursor to fetch again, to catch late revisions.
        api_url: base URL of the API. Default: DERIBIT_API_URL, else the live service.
        requests_per_second: rate limit of all requests of the source together. Default:
            DERIBIT_REQUESTS_PER_SECOND, else 20.

    Raises:
        UsageError: an argument cannot be used, or Deribit does not know an instrument.
        DeribitError: the API cannot be reached.
        PerpsError: a named perpetual cannot be loaded.
    """
    found_resolution, first, last = parse_resolution(resolution), _time(start, "start"), _time(end, "end")
    if lookback < 0:
        raise UsageError(f"expected a lookback of at least 0 rows, got {lookback}")
    url, rate = read_api(api_url, requests_per_second)
    names = split_names(instruments)
    budget = TokenBucket(rate, DEFAULT_BURST)
    found, now_ms = _find(DeribitClient(url, budget), names, found_resolution)
    chosen = endpoints(parse_endpoints(only, "only"), found_resolution)
    exchange = Exchange(url, budget, streams=len(found) * len(chosen))
    for instrument in found:
        for endpoint in chosen:
            cursor = series_cursor(endpoint, lookback, first or EPOCH, last)
            read = partial(stream_rows, exchange, instrument, endpoint)
            yield series_resource(read, instrument.name, endpoint, cursor, merged=True)
    yield instruments_resource(found, now_ms, merged=True)


def _find(
    client: DeribitClient, names: Sequence[str], resolution: Resolution
) -> tuple[list[Instrument], int]:
    """Return the named perpetuals, delisted ones with their end, and Deribit's clock, UTC ms."""
    if not names:
        raise UsageError("expected instruments, got none; name some, or 'all'")
    now_ms, listed = client.server_time().result, client.instruments()
    chosen, absent = choose(names, listed.perpetuals, [])
    for name in absent:
        if not is_all(names) and name in listed.refused:
            raise PerpsError(f"{listed.refused[name]}; leave it out")
    delisted = find_delisted(client, absent, resolution, now_ms)
    expect_known(delisted.unknown, [one.name for one in listed.perpetuals])
    for failed in delisted.failed:
        if failed.error is not None:
            raise failed.error
    return [*chosen, *delisted.found], now_ms


def _time(given: Time | None, name: str) -> datetime | None:
    text = as_typed(given)
    return None if text is None else datetime.fromtimestamp(parse_time(text, name) / 1000, UTC)
