"""The facts about Deribit on which the code depends, each checked with one or two small requests.

How a fact is known: `seen`, a recorded reply shows it; `doc`, Deribit's documentation states it; `inferred`,
neither. See docs/deribit.md. No fact has been checked against the live service yet; these checks do that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import VALUES, parse_chart
from extract.deribit.errors import BadReplyError, PermanentError
from extract.doctor.contract import INSTRUMENT, Exchange, Fact, UnseenError
from extract.doctor.rowfacts import ROW_FACTS, numbers

LIMIT = 5_001  # rows in one reply (seen)
QUIET = "BTC_USDC-PERPETUAL"
QUIET_MS, QUIET_MINUTES = 1_689_292_800_000, 600  # from 2023-07-14: 12 of 20 minutes were silent (seen)
BEFORE_MS = 1_483_228_800_000  # 2017-01-01: no perpetual was listed
GONE = "MATIC_USDC-PERPETUAL"  # no longer listed, but still answered (seen)
VOLUME_APART = 1e-6  # as a share of the volume: 60 numbers, each rounded to eight decimals
CLOCKS_APART_MS = 1_000


def clock(exchange: Exchange) -> str:
    """`usOut` of a reply equals the clock; it dates every fetch."""
    first = exchange.first
    if first.server_ms is None:
        return "no usOut in the envelope"
    apart_ms = abs(first.server_ms - first.result)
    return "ms, as usOut says" if apart_ms <= CLOCKS_APART_MS else f"{apart_ms} ms apart from usOut"


def perpetuals(exchange: Exchange) -> str:
    """`currency=any` and `kind=future` list them (seen)."""
    listed = {row["instrument_name"]: row for row in exchange.instruments(expired=False)}
    kind = listed.get(INSTRUMENT, {}).get("instrument_type")
    return f"{INSTRUMENT} is {kind}" if INSTRUMENT in listed else f"no {INSTRUMENT} among {len(listed)}"


def shape(exchange: Exchange) -> str:
    """The reply is columnar; ticks ascend (seen)."""
    end_ms = exchange.hour_ms
    result = exchange.chart(end_ms - HOUR_MS, end_ms)
    try:
        table = parse_chart(result, RESOLUTIONS["1"], end_ms - HOUR_MS, end_ms).table
    except BadReplyError as error:
        return str(error)
    odd = sum(column.null_count for column in table.columns)
    return f"{odd} values are no numbers" if odd else "seven arrays of numbers, ticks ascend"


def row_limit(exchange: Exchange) -> str:
    """A wider window is silently cut (seen)."""
    end_ms = exchange.hour_ms
    result = exchange.chart(end_ms - (LIMIT + 99) * MINUTE_MS, end_ms)
    newest = "the newest" if result["ticks"][-1:] == [end_ms] else "not the newest"
    return f"{len(result['ticks']):,} rows, {newest}, status {result['status']}"


def ends(exchange: Exchange) -> str:
    """Both ends are inclusive (seen)."""
    return _minutes_of(exchange, 0, 3)


def unaligned_start(exchange: Exchange) -> str:
    """The bucket that contains an unaligned start is included (seen)."""
    return _minutes_of(exchange, 0.5, 2.5)


def _minutes_of(exchange: Exchange, start: float, end: float) -> str:
    at_ms = exchange.hour_ms
    ticks = exchange.chart(at_ms + int(start * MINUTE_MS), at_ms + int(end * MINUTE_MS))["ticks"]
    return f"minutes {start} to {end} return {numbers(at_ms, ticks, MINUTE_MS)}"


def forming(exchange: Exchange) -> str:
    """The newest candle is not closed (seen)."""
    now_ms = exchange.now_ms()
    ticks = exchange.chart(now_ms - 5 * MINUTE_MS, now_ms)["ticks"]
    if not ticks:
        return "no candle in five minutes"
    late = now_ms // MINUTE_MS - ticks[-1] // MINUTE_MS
    return "the minute under way comes too" if late == 0 else f"the newest is {late} minutes before"


def dense(exchange: Exchange) -> str:
    """Silent minutes have candles (doc, seen)."""
    result = _quiet(exchange)
    if len(result["ticks"]) == QUIET_MINUTES and 0 not in result["volume"]:
        raise UnseenError(f"no minute without volume among {QUIET_MINUTES} of {QUIET}")
    return f"{len(result['ticks'])} of {QUIET_MINUTES} minutes"


def fills(exchange: Exchange) -> str:
    """A candle without volume repeats the close before it (doc, seen)."""
    result = _quiet(exchange)
    rows = list(zip(*(result[name] for name in VALUES), strict=True))
    silent = [(before, row) for before, row in pairwise(rows) if row[4] == 0]
    if not silent:
        raise UnseenError(f"no minute without volume among {len(rows)} of {QUIET}")
    odd = [row for before, row in silent if row != (before[3],) * 4 + (0, 0)]
    return f"{len(odd)} of {len(silent)} are otherwise" if odd else "at the close before, volume and cost 0"


def _quiet(exchange: Exchange) -> dict[str, Any]:
    if exchange.first.result < QUIET_MS + DAY_MS:
        raise UnseenError("the clock is before the known silent minutes")
    return exchange.chart(QUIET_MS, QUIET_MS + (QUIET_MINUTES - 1) * MINUTE_MS, instrument=QUIET)


def no_data(exchange: Exchange) -> str:
    """A window before the listing is empty, not an error (seen)."""
    result = exchange.chart(BEFORE_MS, BEFORE_MS + HOUR_MS)
    rows = sum(len(result[name]) for name in ("ticks", *VALUES))
    return f"status {result['status']}, {rows} numbers in seven arrays"


def listing(exchange: Exchange) -> str:
    """No candle is older than the minute of `creation_timestamp`, where plans begin (seen for two)."""
    listed = {row["instrument_name"]: row for row in exchange.instruments(expired=False)}
    if INSTRUMENT not in listed:
        raise UnseenError(f"{INSTRUMENT} is not listed")
    created_ms = listed[INSTRUMENT]["creation_timestamp"] // MINUTE_MS * MINUTE_MS
    ticks = exchange.chart(created_ms - DAY_MS, created_ms + DAY_MS)["ticks"]
    if not ticks:
        raise UnseenError("no candle within a day of its creation")
    early = (created_ms - ticks[0]) // MINUTE_MS
    return f"{early} minutes of candles before creation" if early > 0 else "no candle before its creation"


def unknown_instrument(exchange: Exchange) -> str:
    """An unknown instrument is a permanent error (seen)."""
    return _refusal(exchange, instrument="NO_SUCH-PERPETUAL")


def unknown_resolution(exchange: Exchange) -> str:
    """An unknown resolution is a permanent error (seen)."""
    return _refusal(exchange, resolution="7")


def _refusal(exchange: Exchange, **changed: str) -> str:
    try:
        exchange.chart(exchange.hour_ms, exchange.hour_ms + HOUR_MS, **changed)
    except PermanentError as error:
        return str(error).removeprefix("deribit answered ").partition(" (")[0]
    return "an answer"


def opens(exchange: Exchange, resolution: str) -> str:
    """720 and 1D open at the settlement (seen); for 180 and 360 this is unknown."""
    end_ms = exchange.hour_ms
    ticks = exchange.chart(end_ms - 4 * DAY_MS, end_ms, resolution)["ticks"]
    return _at({tick % DAY_MS for tick in ticks})


def _from(first: int, every: int) -> str:
    """Return the text of `opens` for buckets that open at hour `first` and every `every` hours after it."""
    return _at({hour * HOUR_MS for hour in range(first, 24, every)})


def _at(times_ms: set[int]) -> str:
    times = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in sorted(times_ms))
    return f"open at {', '.join(f'{time:%H:%M}' for time in times)}"


def coarser(exchange: Exchange) -> str:
    """An hour aggregates its minutes, which `perps reconcile` relies on (doc)."""
    start_ms = exchange.hour_ms
    minutes = exchange.chart(start_ms, start_ms + HOUR_MS - MINUTE_MS)
    hours = exchange.chart(start_ms, start_ms, "60")
    (high,), (low,), (close,), (volume,) = (hours[name] for name in VALUES[1:5])
    same = {
        "high": high == max(minutes["high"]),
        "low": low == min(minutes["low"]),
        "close": close == minutes["close"][-1],
        "volume": abs(volume - sum(minutes["volume"])) <= VOLUME_APART * volume,
    }
    other = [name for name, holds in same.items() if not holds]
    return f"another {', '.join(other)}" if other else "high, low, close and volume of its minutes"


def delisted(exchange: Exchange) -> str:
    """Deribit returns flat candles of a delisted instrument for ever (seen)."""
    listed = {row["instrument_name"] for row in exchange.instruments(expired=False)}
    expired = sorted(exchange.instruments(expired=True), key=lambda row: row.get("expiration_timestamp") or 0)
    gone = [row["instrument_name"] for row in expired if row["instrument_name"] not in listed]
    if not gone and GONE in listed:
        raise UnseenError("deribit lists no delisted perpetual")
    end_ms = exchange.hour_ms
    try:
        result = exchange.chart(end_ms, end_ms + HOUR_MS - MINUTE_MS, instrument=[*gone, GONE][0])
    except PermanentError as error:
        if gone:
            raise
        raise UnseenError(f"deribit lists no delisted perpetual; {GONE}: {error}") from None
    prices = {price for column in VALUES[:4] for price in result[column]}
    flat = "at one price" if len(prices) == 1 else f"at {len(prices)} prices"
    return f"{len(result['ticks'])} minutes an hour, {flat}, volume {sum(result['volume']):g}"


ERRORS, GRID, FETCHING = "extract/deribit/errors.py", "extract/core/resolution.py", "extract/load/fetch.py"
REPLIES, CHARTS, LISTED = (f"extract/deribit/{name}.py" for name in ("replies", "candles", "instruments"))
WINDOWS, HOLES, LIFETIMES = "extract/load/plan.py", "extract/load/holes.py", "extract/load/lifetimes.py"
BARS = "extract/check/reconciliation.py"

FACTS = (
    Fact("clock", ("ms, as usOut says",), REPLIES, clock),
    Fact("perpetuals", (f"{INSTRUMENT} is reversed",), LISTED, perpetuals),
    Fact("form of a chart", ("seven arrays of numbers, ticks ascend",), CHARTS, shape),
    Fact("row limit", (f"{LIMIT:,} rows, the newest, status ok",), WINDOWS, row_limit),
    Fact("ends of a window", ("minutes 0 to 3 return 0, 1, 2, 3",), FETCHING, ends),
    Fact("start in a minute", ("minutes 0.5 to 2.5 return 0, 1, 2",), CHARTS, unaligned_start),
    Fact("forming candle", ("the minute under way comes too",), GRID, forming),
    Fact("silent minutes", (f"{QUIET_MINUTES} of {QUIET_MINUTES} minutes",), HOLES, dense),
    Fact("fills", ("at the close before, volume and cost 0",), "quality.ohlcv_fill_runs", fills),
    Fact("before listing", ("status no_data, 0 numbers in seven arrays",), FETCHING, no_data),
    Fact("listing", ("no candle before its creation",), WINDOWS, listing),
    Fact("wrong instrument", ("-32602: instrument not found",), ERRORS, unknown_instrument),
    Fact("wrong resolution", ("-32602: unsupported resolution",), ERRORS, unknown_resolution),
    Fact("180 candles", tuple(_from(hour, 3) for hour in (0, 2)), GRID, partial(opens, resolution="180")),
    Fact("360 candles", tuple(_from(hour, 6) for hour in (0, 2)), GRID, partial(opens, resolution="360")),
    Fact("720 candles", (_from(8, 12),), GRID, partial(opens, resolution="720")),
    Fact("1D candles", (_from(8, 24),), GRID, partial(opens, resolution="1D")),
    Fact("longer candles", ("high, low, close and volume of its minutes",), BARS, coarser),
    Fact("delisted names", ("60 minutes an hour, at one price, volume 0",), LIFETIMES, delisted),
    *ROW_FACTS,
)
"""For 180 and 360 it is unknown which of two results is right; the code works with both."""
