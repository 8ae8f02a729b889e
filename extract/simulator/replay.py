"""A market that replays the candles of a CSV file, at their own resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from extract.errors import UsageError
from extract.simulator.candles import (
    RESOLUTIONS,
    VALUES,
    Candles,
    Floats,
    Ints,
    bucket_offset,
    bucket_open,
    empty,
    forming,
)
from extract.simulator.listings import BTC, DEFAULT, Listing
from extract.simulator.market import Adjust

_NAMES = {"tick_ms": "ticks", "volume_base": "volume", "cost_usd": "cost"}
_REQUIRED = ("tick_ms", "open", "high", "low", "close", "volume_base")


class Replay:
    """The candles of one file, for one instrument.

    Columns: tick_ms (bucket open, ms, UTC), open, high, low, close, volume_base and, optional, cost_usd
    (without it cost is volume x close). Any other resolution and any time outside the file has no data; the
    listing date is the first tick. Raises UsageError if the file has another format.
    """

    def __init__(self, path: Path, instrument: str = BTC.name) -> None:
        self._all = _read(path)
        self.resolution = _resolution(self._all, path)
        self.label = f"replay={path.name}".encode("ascii", "replace").decode()
        self._instrument = instrument
        known = {listing.name: listing for listing in DEFAULT}.get(instrument)
        like = known or BTC
        first = int(self._all.ticks[0])
        listing = Listing(instrument, first, like.tick_size, like.contract_size, like.price, like.lots)
        self.listings = {instrument: listing}

    def candles(
        self,
        instrument: str,
        resolution: str,
        start_ms: int,
        end_ms: int,
        *,
        now_ms: int | None = None,
        adjust: Adjust | None = None,
    ) -> Candles:
        """Return the file's candles from the bucket that contains `start_ms` to `end_ms`, inclusive.

        `now_ms` and `adjust` as in `Market.candles`.
        """
        if instrument != self._instrument or resolution != self.resolution:
            return empty()
        width, first = RESOLUTIONS[resolution], bucket_open(start_ms, resolution)
        candles = self._all.between(first - width, end_ms)
        candles = candles if now_ms is None else forming(candles, width, now_ms)
        candles = candles.between(first, end_ms)
        return adjust(instrument, candles) if adjust else candles

    def prices(self, instrument: str, at_ms: Ints) -> Floats:
        """Return the open of the candle of each instant (UTC ms), and after a hole the last close before."""
        if instrument != self._instrument:
            return np.empty(0)
        index = np.maximum(np.searchsorted(self._all.ticks, at_ms, side="right") - 1, 0)
        within = at_ms < self._all.ticks[index] + RESOLUTIONS[self.resolution]
        return np.where(within, self._all.open[index], self._all.close[index])


def _read(path: Path) -> Candles:
    try:
        types = {name: pa.float64() for name in (*_REQUIRED[1:], "cost_usd")}
        options = pa_csv.ConvertOptions(column_types={"tick_ms": pa.int64(), **types})
        table = pa_csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"expected a CSV of candles in {path}, got: {reason}; correct the file") from error
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise UsageError(
            f"expected the columns {', '.join(_REQUIRED)} in {path}, got no {', '.join(missing)}; add them"
        )
    if len(set(table.column_names)) < len(table.column_names):
        raise UsageError(f"a column occurs twice in {path}; remove one")
    columns = {_NAMES.get(name, name): table[name].to_numpy() for name in table.column_names}
    columns.setdefault("cost", columns["volume"] * columns["close"])
    candles = Candles(ticks=columns["ticks"], **{name: columns[name].astype(np.float64) for name in VALUES})
    if len(candles) < 2 or not np.all(np.diff(candles.ticks) > 0):
        raise UsageError(f"expected at least two candles with ascending tick_ms in {path}; sort the file")
    return candles


def _resolution(candles: Candles, path: Path) -> str:
    """Return the resolution whose width is the most common step between ticks."""
    steps, counts = np.unique(np.diff(candles.ticks), return_counts=True)
    step = int(steps[np.argmax(counts)])
    for name, width in RESOLUTIONS.items():
        if width == step and np.all((candles.ticks - bucket_offset(name)) % width == 0):
            return name
    raise UsageError(
        f"expected ticks on one of Deribit's resolutions in {path}, got steps of {step} ms; correct tick_ms"
    )
