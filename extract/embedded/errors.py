"""The error of every part of the embedded server, and the two alternatives to that server."""

from __future__ import annotations

from extract.errors import PerpsError

OTHER_WAYS = "or use docker/compose.yml, or set PGHOST to a TimescaleDB of your own"


class EmbedError(PerpsError):
    """The embedded server cannot be installed, started or reached on this machine."""


def cannot_embed(expected: str, got: str, remedy: str) -> EmbedError:
    """Return the error for a host that cannot run the server: the reason, the remedy, two alternatives."""
    return EmbedError(f"expected {expected}, got {got}; {remedy}, {OTHER_WAYS}")
