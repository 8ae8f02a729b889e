"""Instrument names as people type them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from extract.errors import UsageError

KIND = "-PERPETUAL"
ENDPOINTS = ("candles", "funding", "settlements")
"""The names of the endpoints: what is loaded for each instrument."""
TABLES = dict(
    zip(ENDPOINTS, ("perpetuals_ohlcv", "perpetuals_funding", "perpetuals_settlements"), strict=True)
)
"""By endpoint, the table that dbt builds."""
NOUNS = dict(zip(ENDPOINTS, ("candle", "funding rate", "settlement"), strict=True))
"""By endpoint, the noun for one row."""
_KINDS = frozenset({"PERPETUAL", "PERP", "SWAP"})


def with_suggestions(unknown: Sequence[str], known: Iterable[str]) -> str:
    """Return unknown names as text for a message, each with the known names that it may mean.

    Args:
        unknown: as typed.
        known: Deribit's names.
    """
    suggested = ((name, " or ".join(suggest(name, known))) for name in unknown)
    return ", ".join(f"{name} ({meant}?)" if meant else name for name, meant in suggested)


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Return at most three known names that a name may mean, most likely first.

    It understands another case, a coin alone (`BTC`), other words for a perpetual (`BTC-PERP`) and ccxt's
    symbols (`BTC/USD:BTC`); otherwise it looks for typing errors.

    Args:
        name: as typed.
        known: Deribit's names, such as BTC-PERPETUAL (quoted in USD) and BTC_USDC-PERPETUAL.
    """
    pairs = {found.removesuffix(KIND): found for found in known}
    words = [word for word in re.findall("[A-Z0-9]+", name.upper()) if word not in _KINDS]
    if not words:
        return []
    coin, quote = words[0], "".join(words[1:2])
    pair = f"{coin}_{quote}" if quote not in ("", "USD") else coin
    of_coin = [found for found in pairs if found.split("_")[0] == coin]
    likely = difflib.get_close_matches(pair, of_coin or pairs, n=3, cutoff=0 if of_coin else 0.6)
    return [pairs[found] for found in likely]


def split_names(given: str | Iterable[str]) -> list[str]:
    """Return the names in a text that separates them by commas or spaces, each once, in order.

    Args:
        given: one text, or several.
    """
    texts = [given] if isinstance(given, str) else given
    return list(dict.fromkeys(name for text in texts for name in text.replace(",", " ").split()))


def counted(rows: Mapping[str, int]) -> str:
    """Return numbers of rows by endpoint as text: `5 candles, 1 funding rate`."""
    return ", ".join(f"{count:,} {NOUNS[one]}{'s' if count != 1 else ''}" for one, count in rows.items())


def is_all(names: Sequence[str]) -> bool:
    """Return whether the names stand for every listed perpetual."""
    return [name.lower() for name in names] == ["all"]


def parse_endpoints(given: str | Iterable[str], flag: str = "--only") -> list[str]:
    """Return which of `ENDPOINTS` are named, in that order; all of them if none is.

    Args:
        given: names, separated by commas or spaces.
        flag: the flag that they were typed for, for the message.

    Raises:
        UsageError: there is no such endpoint.
    """
    names = [name.lower() for name in split_names(given)]
    if unknown := [name for name in names if name not in ENDPOINTS]:
        raise UsageError(f"expected {flag} to name {', '.join(ENDPOINTS)}, got {', '.join(unknown)}")
    return [name for name in ENDPOINTS if name in names or not names]
