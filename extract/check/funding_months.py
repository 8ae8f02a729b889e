"""Compares the funding of each month with Deribit's own rate for the month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from extract.core.ranges import TimeRange
from extract.core.resolution import HOUR_MS
from extract.database.database import Database
from extract.deribit.client import DeribitClient
from extract.transform.runner import expecting_models

TOLERANCE, SMALLEST = 1e-3, 1e-8
"""How much a month may differ: as a fraction of its rate (an hour is about 1.4e-3 of it), and as a rate."""

MONTHS = """
with hours as (
    select
        "timestamp",
        interest_1h,
        coalesce(prev_index_price, index_price) as index_before,
        date_trunc('month', "timestamp" - interval '1 hour', 'UTC') as month
    from public.perpetuals_funding
    where instrument = %s
        and "timestamp" >= to_timestamp(%s / 1000.0)
        and "timestamp" < to_timestamp(%s / 1000.0)
)

select
    to_char(month at time zone 'UTC', 'YYYY-MM'),
    (extract(epoch from min("timestamp")) * 1000)::bigint,
    (extract(epoch from max("timestamp")) * 1000)::bigint,
    count(*),
    sum(interest_1h),
    (array_agg(index_before order by "timestamp"))[1] * sum(interest_1h / index_before)
from hours
group by month
order by month
"""


@dataclass(frozen=True)
class Month:
    """The funding of an instrument in a UTC month, or in the part of it that the table has.

    Attributes:
        instrument: the instrument.
        name: such as 2024-01.
        first_ms, last_ms: the ends of its first and last hour, UTC ms.
        hours: rows of the table.
        total: sum of their interest_1h.
        weighted: the same, each rate times the index before the first hour, divided by the index before its
            own hour, as in interest_8h of an inverse perpetual (FACTS: inferred).
        deribit: Deribit's own rate for these hours.
    """

    instrument: str
    name: str
    first_ms: int
    last_ms: int
    hours: int
    total: float
    weighted: float
    deribit: float = 0.0

    @property
    def is_equal(self) -> bool:
        """Whether Deribit's rate equals one of the two sums; which of them it should be is not documented."""
        most = max(SMALLEST, TOLERANCE * abs(self.deribit))
        return min(abs(self.deribit - self.total), abs(self.deribit - self.weighted)) <= most

    def __str__(self) -> str:
        return (
            f"{self.instrument} {self.name}: {self.total:.6e} in {self.hours} hours of the table "
            f"(weighted by the index {self.weighted:.6e}), {self.deribit:.6e} at deribit"
        )


def read_months(database: Database, ranges: Mapping[str, TimeRange]) -> list[Month]:
    """Return the months that the table has, by instrument and time.

    Args:
        database: where perpetuals_funding is.
        ranges: per instrument, ends of hours [start, end), UTC ms.

    Raises:
        PerpsError: the models are not built yet.
    """
    found = []
    with expecting_models(), database.reading() as cursor:
        for name, time_range in sorted(ranges.items()):
            cursor.execute(MONTHS, [name, *time_range])
            found += [Month(name, *row) for row in cursor.fetchall()]
    return found


def compare_months(client: DeribitClient, months: Sequence[Month]) -> Iterator[Month]:
    """Yield months with Deribit's rates, one request each.

    Raises:
        DeribitError: no usable reply.
    """
    for month in months:
        rate = client.funding_value(month.instrument, month.first_ms - HOUR_MS, month.last_ms)
        yield replace(month, deribit=rate)
