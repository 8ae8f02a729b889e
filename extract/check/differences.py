"""What `perps verify` finds: rows that differ between a table and Deribit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from extract.core.times import format_time
from extract.load.plan import Window

CHANGED, MISSING, GONE, UNUSABLE = "changed", "missing in the table", "not at deribit", "unusable at deribit"
REPAIRABLE = frozenset({CHANGED, MISSING})

Values = tuple[Decimal | float | None, ...]


@dataclass(frozen=True)
class Difference:
    """A row that differs between its table and Deribit.

    Attributes:
        instrument: the instrument.
        at_ms: open of its bucket, UTC ms.
        kind: changed, missing in the table, not at deribit (fetched twice), or unusable at deribit (the
            table cannot hold it).
        columns: the columns that differ, or that are unusable; none when one side has no row.
        stored, deribit: values of those columns. A float in `stored` is the raw value: the table agrees
            to its eight decimals.
    """

    instrument: str
    at_ms: int
    kind: str
    columns: tuple[str, ...] = ()
    stored: Values = ()
    deribit: Values = ()

    def __str__(self) -> str:
        values = "; ".join(
            f"{column} {_shown(mine)} in {'raw' if isinstance(mine, float) else 'the table'}, "
            f"{_shown(theirs)} at deribit"
            for column, mine, theirs in zip(self.columns, self.stored, self.deribit, strict=True)
        )
        return f"{self.instrument} {format_time(self.at_ms)} {self.kind}{': ' if values else ''}{values}"


@dataclass(frozen=True)
class Checked:
    """A window compared.

    Attributes:
        window: what was compared.
        rows: how many rows were compared, on either side.
        differences: by time.
        landed: bucket opens, UTC ms, where raw equals Deribit, so that only the built table is wrong.
    """

    window: Window
    rows: int
    differences: list[Difference]
    landed: frozenset[int] = frozenset()


def _shown(value: Decimal | float | None) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
