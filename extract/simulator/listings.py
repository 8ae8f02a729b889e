"""The perpetuals that the simulator lists, and their `get_instruments` objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_FOREVER_MS = 32_503_708_800_000


@dataclass(frozen=True)
class Listing:
    """One perpetual.

    `created_ms` is the creation timestamp (ms, UTC); `tick_size` and `price` are in the quote coin;
    `contract_size` in USD for a reversed instrument, in the base coin for a linear one; `lots` is the typical
    number of contracts in a minute with trades; `silence` the share of minutes without any; `growth` the
    yearly drift of the logarithm of the price.
    """

    name: str
    created_ms: int
    tick_size: float
    contract_size: float
    price: float
    lots: int
    silence: float = 0.3
    growth: float = 0.1

    @property
    def reversed(self) -> bool:
        """Whether the instrument is inverse: settled in its base coin, contracts in USD."""
        return "_" not in self.name

    @property
    def base(self) -> str:
        """Return the base coin."""
        return self.name.split("-", 1)[0].split("_", 1)[0]

    @property
    def quote(self) -> str:
        """Return the quote coin: USD for reversed instruments."""
        return "USD" if self.reversed else self.name.split("-", 1)[0].split("_", 1)[1]

    @property
    def settlement(self) -> str:
        """Return the coin the instrument settles in; `get_instruments` filters `currency` by it."""
        return self.base if self.reversed else self.quote


BTC = Listing("BTC-PERPETUAL", 1_534_242_287_000, 0.5, 10.0, 6_300.0, 20_000, silence=0.004, growth=0.35)
DEFAULT: tuple[Listing, ...] = (
    BTC,
    Listing("ETH-PERPETUAL", 1_552_568_454_000, 0.05, 1, 133.0, 80_000, silence=0.03, growth=0.4),
    Listing("BTC_USDC-PERPETUAL", 1_646_824_342_000, 1.0, 0.001, 42_000.0, 900, silence=0.55, growth=0.2),
    Listing("ETH_USDC-PERPETUAL", 1_647_262_800_000, 0.1, 0.01, 2_600.0, 700, silence=0.5, growth=0.1),
    Listing("SOL_USDC-PERPETUAL", 1_647_349_200_000, 0.01, 0.1, 83.0, 300, silence=0.25, growth=0.2),
    Listing("XRP_USDC-PERPETUAL", 1_647_435_599_000, 0.0001, 10, 0.79, 400, silence=0.35, growth=0.3),
    Listing("DOGE_USDC-PERPETUAL", 1_651_151_787_000, 1e-05, 100, 0.138, 300, silence=0.45),
    Listing("BNB_USDC-PERPETUAL", 1_726_561_290_000, 0.05, 0.01, 540.0, 200, silence=0.6),
    Listing("SHIB_USDC-PERPETUAL", 1_736_150_400_000, 1e-08, 1000, 0.00001234, 60_000, silence=0.4),
)

_STYLES = ((0.01, 0.1, 95.0), (0.0001, 10, 0.62), (0.1, 0.01, 310.0), (1e-05, 100, 0.041))


def extra(count: int) -> tuple[Listing, ...]:
    """Return `count` further linear perpetuals, `SIM001_USDC-PERPETUAL` on, listed from 2023 to 2026."""
    first, step = 1_672_531_200_000, 10 * 86_400_000 + 3_723_000
    listings = []
    for number in range(1, count + 1):
        tick, contract, price = _STYLES[number % len(_STYLES)]
        created = first + (number - 1) % 128 * step
        price *= 1 + number % 7 / 3
        silence = 0.3 + number % 6 / 10
        listings.append(
            Listing(f"SIM{number:03d}_USDC-PERPETUAL", created, tick, contract, price, 150, silence)
        )
    return tuple(listings)


def instrument_row(listing: Listing, number: int) -> dict[str, Any]:
    """Return the `get_instruments` object of a perpetual, with the fields of a 2026 reply (FACTS: seen)."""
    kind = "reversed" if listing.reversed else "linear"
    return {
        "tick_size_steps": [],
        "block_trade_tick_size": 0.01,
        "quote_currency": listing.quote,
        "price_index": f"{listing.base}_{listing.quote}".lower(),
        "instrument_type": kind,
        "future_type": kind,
        "kind": "future",
        "max_leverage": 50,
        "underlying_type": "crypto",
        "product_group": listing.base,
        "state": "open",
        "expiration_timestamp": _FOREVER_MS,
        "contract_size": listing.contract_size,
        "min_trade_amount": listing.contract_size,
        "instrument_id": 210_838 + number,
        "creation_timestamp": listing.created_ms,
        "base_currency_uuid": _uuid(listing.base),
        "is_active": True,
        "lot_size": 1,
        "taker_commission": 0.00035,
        "tick_size": listing.tick_size,
        "block_trade_commission": 0.00025,
        "settlement_currency": listing.settlement,
        "instrument_name": listing.name,
        "block_trade_min_trade_amount": 200_000,
        "max_liquidation_commission": 0.0075,
        "max_non_default_leverage": 5.0,
        "index_id": 1_000_033 + number,
        "counter_currency": listing.quote,
        "base_currency": listing.base,
        "maker_commission": 0.00015,
        "settlement_period": "perpetual",
        "quote_currency_uuid": _uuid(listing.quote),
    }


def dated_future_row(listing: Listing, number: int) -> dict[str, Any]:
    """Return a dated future beside a perpetual: a client has to filter by `settlement_period`."""
    return {
        **instrument_row(listing, number),
        "instrument_name": f"{listing.base}-24DEC27",
        "settlement_period": "month",
        "expiration_timestamp": 1_829_635_200_000,
    }


def _uuid(text: str) -> str:
    digits = text.encode().hex().ljust(32, "0")[:32]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
