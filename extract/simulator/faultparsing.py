"""Parses faults from JSON; pure functions."""

from __future__ import annotations

from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any

from extract.errors import UsageError
from extract.simulator.candles import COLUMNS, VALUES
from extract.simulator.clock import parse_ms
from extract.simulator.faults import KINDS, BadRow
from extract.simulator.marketfaults import Fault, RowRevision

_ROW_VALUES = (
    *("interest_1h", "interest_8h", "index_price", "prev_index_price"),
    *("position", "mark_price", "profit_loss", "session_profit_loss"),
)
_ROW_COLUMNS = ("timestamp", "type", "instrument_name", *_ROW_VALUES)
_TIMES = {"start", "end", "at", "since"}
_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def parse_faults(items: Any) -> tuple[Fault, ...]:
    """Return the faults of a decoded JSON list; raises UsageError that names the first wrong one."""
    if not isinstance(items, list):
        raise UsageError(f"expected a JSON list of faults, got {type(items).__name__}; wrap it in [ ]")
    return tuple(_parse(item, number) for number, item in enumerate(items))


def _parse(item: Any, number: int) -> Fault:
    kind = item.get("kind") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError(f"expected fault {number} of a kind of {', '.join(KINDS)}, got {kind!r}; use one")
    shape = {spec.name: spec for spec in fields(KINDS[kind])}
    given = {name: value for name, value in item.items() if name != "kind"}
    wrong = [name for name in given if name not in shape]
    lacking = [name for name, spec in shape.items() if spec.default is MISSING and name not in given]
    if wrong or lacking:
        problem = f"got {wrong[0]}" if wrong else f"got no {lacking[0]}"
        raise UsageError(
            f"expected fault {number} ({kind}) with the keys {', '.join(shape)}, {problem}; correct it"
        )
    of_rows = issubclass(KINDS[kind], BadRow | RowRevision)
    return KINDS[kind](
        **{name: _value(name, str(shape[name].type), value, number, of_rows) for name, value in given.items()}
    )


def _value(name: str, declared: str, value: Any, number: int, of_rows: bool) -> Any:
    if name in _TIMES:
        return parse_ms(value, f"{name} of fault {number}")
    if name == "values":
        return _numbers(value, number, _ROW_VALUES if of_rows else VALUES)
    columns = _ROW_COLUMNS if of_rows else COLUMNS
    if name == "column" and value not in columns:
        raise UsageError(f"expected column of fault {number} to be of {', '.join(columns)}, got {value!r}")
    base = declared.removesuffix(" | None")
    allowed = _TYPES.get(base)
    optional = base != declared and value is None
    if allowed and not optional and (type(value) not in allowed):
        raise UsageError(f"expected {name} of fault {number} as {base}, got {value!r}; correct it")
    return value


def _numbers(values: Any, number: int, names: tuple[str, ...]) -> MappingProxyType[str, float]:
    try:
        if not values or not set(values) <= set(names):
            raise ValueError
        return MappingProxyType({name: float(value) for name, value in values.items()})
    except (AttributeError, TypeError, ValueError):
        raise UsageError(
            f"expected values of fault {number} as numbers for some of {', '.join(names)}, got {values!r}"
        ) from None
