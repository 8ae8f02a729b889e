"""Reply bodies: columns of mixed numbers, envelopes and errors, as Deribit writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from extract.simulator.candles import HOUR_MS, VALUES, Candles, Floats, Ints
from extract.simulator.market import uniform

ERRORS: dict[int, str] = {
    10028: "too_many_requests",
    10040: "retry",
    10041: "settlement_in_progress",
    10047: "matching_engine_queue_full",
    10066: "too_many_concurrent_requests",
    11051: "system_maintenance",
    11094: "internal_server_error",
    13028: "temporarily_unavailable",
    13888: "timed_out",
    10020: "invalid_or_unsupported_instrument",
    13009: "unauthorized",
    13020: "not_found",
    13021: "forbidden",
    -32600: "Invalid Request",
    -32601: "Method not found",
    -32602: "Invalid params",
}
"""JSON-RPC error code -> message."""

Chart = dict[str, Any]
"""The `result` of get_tradingview_chart_data: seven lists and `status`."""

# two key orders that were recorded
_CHART_ORDERS = (
    ("volume", "ticks", "status", "open", "low", "high", "cost", "close"),
    ("ticks", "open", "high", "low", "close", "volume", "cost", "status"),
)
_BARE = {"NaN", "Infinity", "-Infinity", "1e400", "-1e400"}
_WHOLE_LIMIT = 2.0**53


class RequestError(Exception):
    """A request that Deribit answers with a JSON-RPC error.

    `code` is the JSON-RPC code, `data` its `data` object, `status` the HTTP status.
    """

    def __init__(self, code: int, data: dict[str, str] | None = None, status: int = 400) -> None:
        super().__init__(ERRORS.get(code, "error"))
        self.code, self.data, self.status = code, data, status


def invalid(param: str, reason: str) -> RequestError:
    """Return the -32602 error that names a parameter and why it is refused (FACTS: seen)."""
    return RequestError(-32602, {"reason": reason, "param": param})


def error_object(error: RequestError) -> dict[str, Any]:
    """Return the `error` member of a reply."""
    return {"message": str(error), "data": error.data, "code": error.code}


def chart(candles: Candles, salt: str) -> Chart:
    """Return the columnar result of a chart request; `no_data` and seven empty lists without candles.

    Whole numbers are ints in some columns and rows and floats in others, as recorded replies mix them; which
    ones, and the order of the keys, depends on `salt` and the hour, so that the same candle always reads the
    same.
    """
    columns: Chart = {
        "ticks": candles.ticks.tolist(),
        **{name: _mixed(getattr(candles, name), candles.ticks, f"{salt}/{name}") for name in VALUES},
        "status": "ok" if len(candles) else "no_data",
    }
    return {name: columns[name] for name in chart_order(len(candles))}


def chart_order(rows: int) -> tuple[str, ...]:
    """Return the keys of a chart result of so many rows in the order in which they are written."""
    return _CHART_ORDERS[rows % 2]


def _mixed(values: Floats, ticks: Ints, salt: str) -> list[Any]:
    numbers: npt.NDArray[np.object_] = values.astype(object)
    whole = (values == np.rint(values)) & (np.abs(values) < _WHOLE_LIMIT)
    whole &= uniform(salt, ticks // HOUR_MS) < 0.5
    numbers[whole] = values[whole].astype(np.int64)
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        numbers[index] = raw("NaN" if np.isnan(values[index]) else "-1e400" if values[index] < 0 else "1e400")
    mixed: list[Any] = numbers.tolist()
    return mixed


def raw(text: str | bytes) -> orjson.Fragment:
    """Return text that is written into the JSON as it stands: NaN, 1e400, or what is rendered already."""
    return orjson.Fragment(text)


def spelled(value: Any) -> Any:
    """Return a value of a fault as it is put into a result: NaN and its kin, given as text, are bare."""
    return raw(value) if isinstance(value, str) and value in _BARE else value


def envelope(member: str, value: Any, started_us: int, took_us: int, result_last: bool) -> bytes:
    """Return a whole JSON-RPC reply; `member` is result or error. Times are microseconds since the epoch."""
    times = {"usIn": started_us, "usOut": started_us + took_us, "usDiff": took_us, "testnet": False}
    if result_last:
        return orjson.dumps({**times, member: value, "jsonrpc": "2.0"})
    return orjson.dumps({"jsonrpc": "2.0", member: value, **times})
