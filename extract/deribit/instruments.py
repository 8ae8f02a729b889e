"""From a `get_instruments` reply to the perpetuals it lists: `parse_instruments`, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from extract.deribit.errors import BadReplyError


@dataclass(frozen=True)
class Instrument:
    """A listed perpetual. Fields are chosen by name because the API adds and drops others (FACTS: seen).

    Attributes:
        name: such as BTC-PERPETUAL.
        created_ms: `creation_timestamp`, UTC ms: no candle is older than its bucket.
        instrument_type: `reversed` (inverse, cost in USD) or `linear`.
        tick_size, contract_size, min_trade_amount: today's values; they change over time.
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


def parse_instruments(result: Any) -> list[Instrument]:
    """Return the perpetuals of a `get_instruments` result, by name.

    Raises:
        BadReplyError: not a list of instruments, no perpetual in it, or one without name or creation time.
    """
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise BadReplyError(f"expected a list of instruments, got {type(result).__name__}")
    perpetuals = [row for row in result if row.get("settlement_period") == "perpetual"]
    if not perpetuals:
        raise BadReplyError(f"expected perpetuals among the instruments, got none of {len(result)}")
    return sorted(map(_instrument, perpetuals), key=lambda instrument: instrument.name)


def _instrument(row: dict[str, Any]) -> Instrument:
    name, created = row.get("instrument_name"), row.get("creation_timestamp")
    if not isinstance(name, str) or type(created) is not int:
        raise BadReplyError(f"expected instrument_name and creation_timestamp, got {name!r} and {created!r}")
    return Instrument(
        name=name,
        created_ms=created,
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
    return value if isinstance(value, str) else None


def _double(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None
