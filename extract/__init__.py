"""Deribit perpetuals, from the public API to tested tables in TimescaleDB.

For Python users, see docs/python.md: `backfill`, `update` and `build` do what the commands do and return
results; `read_candles`, `read_funding` and `read_settlements` read the tables; `deribit_perpetuals` is a dlt
source for any pipeline. They are imported when they are first used.

The packages, in layers that import only from the layers after them: cli and api; check, report, doctor and
export; load, transform and embedded; database and deribit; core. The simulator is used by cli and by tests.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.api.commands import backfill, build, update
    from extract.api.perpetuals import deribit_perpetuals
    from extract.errors import PerpsError, UsageError
    from extract.export.reading import read_candles, read_funding, read_settlements
    from extract.load.result import IncompleteError, LoadResult
    from extract.transform.failures import BuildResult, FailedNode

__version__ = "0.1.0"

__all__ = [
    "BuildResult",
    "FailedNode",
    "IncompleteError",
    "LoadResult",
    "PerpsError",
    "UsageError",
    "backfill",
    "build",
    "deribit_perpetuals",
    "read_candles",
    "read_funding",
    "read_settlements",
    "update",
]

_PLACES = {
    "api.commands": ("backfill", "build", "update"),
    "api.perpetuals": ("deribit_perpetuals",),
    "export.reading": ("read_candles", "read_funding", "read_settlements"),
    "errors": ("PerpsError", "UsageError"),
    "load.result": ("IncompleteError", "LoadResult"),
    "transform.failures": ("BuildResult", "FailedNode"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import extract` costs nothing."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"extract.{module}"), name)
    raise AttributeError(f"module 'extract' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
