"""The failure that every part of the embedded server raises, and the two ways round it."""

from __future__ import annotations

from extract.errors import PerpsError

OTHER_WAYS = "or use docker/compose.yml, or set PGHOST to a TimescaleDB of your own"


class EmbedError(PerpsError):
    """The embedded server cannot be installed, started or reached on this machine."""


def cannot_embed(expected: str, got: str, remedy: str) -> EmbedError:
    """Return the line for a host that cannot embed: what is missing, the remedy, the two other ways."""
    return EmbedError(f"expected {expected}, got {got}; {remedy}, {OTHER_WAYS}")
