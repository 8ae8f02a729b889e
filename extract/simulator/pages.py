"""The tokens that lead from one page of settlements to the next, and how the pages end."""

from __future__ import annotations

import hashlib
from zlib import crc32

from extract.simulator.lifetime import Lifetime
from extract.simulator.settlements import settlement_stamps

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 48  # bytes of a token: 8 of nonce, 8 of time, and a signature


def continuation(life: Lifetime, oldest_ms: int, nonce: int) -> str | None:
    """Return the token that continues a page whose oldest row is stamped `oldest_ms` (UTC ms).

    The last page of an instrument ends in one of three ways (FACTS: unknown which), chosen by its name: the
    text "none", null, or one more token, whose page is empty and has a token again. `nonce` makes the tokens
    of identical requests differ (FACTS: seen).
    """
    name = life.listing.name
    following = token(name, oldest_ms - 1, nonce)
    if (settlement_stamps(life)[:1] < oldest_ms).any():
        return following
    return {"none": "none", "null": None, "empty page": following}[ending(name)]


def ending(instrument: str) -> str:
    """Return how the pages of an instrument end: `none`, `null` or `empty page`."""
    return ("none", "null", "empty page")[crc32(instrument.encode()) % 3]


def token(instrument: str, upper_ms: int, nonce: int) -> str:
    """Return an opaque token for the page up to a time (UTC ms, inclusive), in base 58 (FACTS: seen)."""
    mask = _hash(f"{nonce}", 8)
    hidden = bytes(a ^ b for a, b in zip(mask, upper_ms.to_bytes(8, "big", signed=True), strict=True))
    number = int.from_bytes(
        nonce.to_bytes(8, "big") + hidden + _hash(f"{instrument}/{upper_ms}/{nonce}", 32), "big"
    )
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def read_token(instrument: str, text: str) -> int | None:
    """Return the time (UTC ms, inclusive) that a token stands for; None: it is not of this instrument."""
    number = 0
    for letter in text:
        digit = _ALPHABET.find(letter)
        if digit < 0 or number >> (8 * _LENGTH):
            return None
        number = number * 58 + digit
    if number >> (8 * _LENGTH):
        return None
    content = number.to_bytes(_LENGTH, "big")
    nonce = int.from_bytes(content[:8], "big")
    mask = _hash(f"{nonce}", 8)
    shown = bytes(a ^ b for a, b in zip(mask, content[8:16], strict=True))
    upper_ms = int.from_bytes(shown, "big", signed=True)
    signed = content[16:] == _hash(f"{instrument}/{upper_ms}/{nonce}", 32)
    return upper_ms if signed else None


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
