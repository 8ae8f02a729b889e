"""What can be loaded: candles of a resolution, funding, settlements. Each has a raw table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from extract.core.names import ENDPOINTS
from extract.core.resolution import RESOLUTIONS, Resolution
from extract.deribit import candles as charts
from extract.deribit import funding, settlements
from extract.deribit.rows import schema_of

CANDLES_PER_WINDOW = 5_000
"""One less than a reply can have, 5,001, because each request begins a bucket early."""


@dataclass(frozen=True)
class Endpoint:
    """What is loaded: candles of a resolution, funding or settlements.

    Attributes:
        table: its raw table.
        resolution: of its buckets; each bucket has one row. A row of funding belongs to the hour that opens
            at its time, a settlement to the day from 08:00 UTC that contains its time.
        values: the columns other than instrument, resolution and time, all doubles.
        rows_per_window: most rows in a window.
        needed: the values without which dbt rejects a row.
        at_open: when Deribit has the row of a bucket. True: as soon as the bucket opens. False: once it is
            closed.
    """

    table: str
    resolution: Resolution
    values: tuple[str, ...]
    rows_per_window: int
    needed: tuple[str, ...]
    at_open: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The columns of a reply's table."""
        return schema_of(self.values)

    @property
    def has_resolution(self) -> bool:
        """Whether the rows differ by resolution, so that it is a column of the raw table."""
        return self.table == CANDLES

    @property
    def window_ms(self) -> int:
        """The length of a window, ms."""
        return self.rows_per_window * self.resolution.step_ms

    def end_ms(self, now_ms: int) -> int:
        """Return the exclusive end, UTC ms, of the buckets for which Deribit has a row at `now_ms`.

        Args:
            now_ms: Deribit's clock, UTC ms.
        """
        if self.at_open:
            return self.resolution.floor(now_ms) + self.resolution.step_ms
        return self.resolution.closed_end(now_ms)

    def series(self, instrument: str) -> str:
        """Return the name of an instrument's series in dlt's state."""
        return f"{self.table} {instrument} {self.resolution.name}"


CANDLES = ENDPOINTS[0]
FUNDING = Endpoint(
    "funding", RESOLUTIONS["60"], funding.VALUES, 720, ("interest_1h", "index_price"), at_open=True
)
"""Hourly rates; the time of a row is the end of its hour. A reply has at most 744 rows (FACTS: seen)."""
SETTLEMENTS = Endpoint(
    "settlements", RESOLUTIONS["1D"], settlements.VALUES, 5_000, ("position", "mark_price"), at_open=True
)
"""Daily settlements, shortly after 08:00 UTC. Replies come in pages, so one window holds a whole history."""


def candles(resolution: Resolution) -> Endpoint:
    """Return the endpoint of the candles of a resolution."""
    return Endpoint(CANDLES, resolution, charts.VALUES, CANDLES_PER_WINDOW, charts.VALUES[:5])


def endpoints(names: Sequence[str], resolution: Resolution) -> list[Endpoint]:
    """Return endpoints by name.

    Args:
        names: of `core.names.ENDPOINTS`.
        resolution: of the candles.
    """
    found = {CANDLES: candles(resolution), FUNDING.table: FUNDING, SETTLEMENTS.table: SETTLEMENTS}
    return [found[name] for name in names]
