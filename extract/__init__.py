"""Deribit perpetuals, from the public API to tested tables in TimescaleDB.

Rooms, each importing only from those after it: cli; check, report, doctor and export; load, transform and
embedded; database and deribit; core. The simulator stands beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.export.reading import read_candles

__all__ = ["read_candles"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used: Arrow and a database driver take half a second."""
    if name == "read_candles":
        from extract.export.reading import read_candles  # noqa: PLC0415

        return read_candles
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
