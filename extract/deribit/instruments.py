"""Turns a `get_instruments` reply into the perpetuals that it lists; pure functions."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from extract.core.times import is_plausible
from extract.deribit.errors import BadReplyError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a name may contain: it becomes part of file names, SQL literals, pages and terminal output."""


@dataclass(frozen=True)
class Instrument:
    """A perpetual. Its fields are read by name, because the API adds and drops others (FACTS: seen).

    Attributes:
        name: such as BTC-PERPETUAL.
        created_ms: `creation_timestamp`, UTC ms: no candle is older, unless the instrument was relisted.
        instrument_type: `reversed` (inverse, cost in USD) or `linear`.
        tick_size, contract_size, min_trade_amount: today's values; they change over time.
        is_active: Deribit's value; False for a perpetual that is no longer listed.
        ended_ms: end of the last candle with volume, UTC ms, of a perpetual that is no longer listed.
    """

    name: str
    created_ms: int
    base_currency: str | None = None
    quote_currency: str | None = None
    settlement_currency: str | None = None
    instrument_type: str | None = None
    tick_size: float | None = None
    contract_size: float | None = None
    min_trade_amount: float | None = None
    is_active: bool | None = None
    ended_ms: int | None = None


class Listed(NamedTuple):
    """The perpetuals that Deribit lists.

    Attributes:
        perpetuals: each once, by name.
        refused: by name, why each other perpetual cannot be loaded; the message names it.
    """

    perpetuals: list[Instrument]
    refused: dict[str, str]


def parse_instruments(result: Any) -> Listed:
    """Return the perpetuals of a `get_instruments` result; an unusable one does not affect the others.

    Raises:
        BadReplyError: not a list of instruments, or without a usable perpetual.
    """
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise BadReplyError(f"expected a list of instruments, got {type(result).__name__}")
    perpetuals = [row for row in result if row.get("settlement_period") == "perpetual"]
    if not perpetuals:
        raise BadReplyError(f"expected perpetuals among the instruments, got none of {len(result)}")
    refused = {str(row.get("instrument_name")): reason for row in perpetuals if (reason := _refusal(row))}
    found = {row["instrument_name"]: _instrument(row) for row in perpetuals if not _refusal(row)}
    if not found:
        raise BadReplyError(
            f"expected a usable perpetual among the instruments, got none: {next(iter(refused.values()))}"
        )
    return Listed([found[name] for name in sorted(found)], refused)


def _refusal(row: dict[str, Any]) -> str | None:
    """Return why a perpetual cannot be loaded, None if it can."""
    name, created = row.get("instrument_name"), row.get("creation_timestamp")
    shown = ascii(name)[:80]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"expected an instrument name of up to 64 letters, digits, . _ and -, got {shown}"
    if not is_plausible(created):
        return f"expected a creation_timestamp in ms for {shown}, got {ascii(created)[:80]}"
    return None


def _instrument(row: dict[str, Any]) -> Instrument:
    return Instrument(
        name=row["instrument_name"],
        created_ms=row["creation_timestamp"],
        base_currency=_text(row.get("base_currency")),
        quote_currency=_text(row.get("quote_currency")),
        settlement_currency=_text(row.get("settlement_currency")),
        instrument_type=_text(row.get("instrument_type")),
        tick_size=_double(row.get("tick_size")),
        contract_size=_double(row.get("contract_size")),
        min_trade_amount=_double(row.get("min_trade_amount")),
        is_active=row.get("is_active") if isinstance(row.get("is_active"), bool) else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 64 and value.isprintable() else None


def _double(value: Any) -> float | None:
    with suppress(OverflowError):  # an int too large for a double
        return float(value) if type(value) in (int, float) else None
    return None
