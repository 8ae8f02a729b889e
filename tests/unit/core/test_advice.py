"""Errors say to run the same command again only where that can help."""

from __future__ import annotations

import errno

import psycopg2
import pytest

from extract.core.advice import AGAIN, UNKNOWN, advice


class Refused(psycopg2.Error):
    """An error of a server; psycopg2 sets its SQLSTATE in C alone."""

    def __init__(self, state: str | None) -> None:
        super().__init__("refused")
        self.state = state

    @property
    def pgcode(self) -> str | None:  # type: ignore[override]
        return self.state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, AGAIN),
        ("08006", AGAIN),
        ("40P01", AGAIN),
        ("55P03", AGAIN),
        ("57P01", AGAIN),
        ("53100", "free some disk of the database's server"),
        ("53300", "or end some sessions"),
        ("42501", "perps doctor"),
        ("25006", "a standby does not"),
        ("28P01", "check PGUSER and PGPASSWORD"),
        ("3D000", "check PGDATABASE"),
        ("42883", UNKNOWN),
    ],
)
def test_the_advice_fits_what_the_server_said(state: str | None, said: str) -> None:
    told = advice(Refused(state))
    assert said in told
    hopeless = state in ("42501", "25006", "28P01", "3D000", "42883")
    assert not (hopeless and "run the same command again" in told)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "free some disk for PERPS_HOME"),
        (errno.EROFS, "set PERPS_HOME"),
        (errno.ECONNRESET, AGAIN),
    ],
)
def test_the_advice_fits_what_the_system_said(number: int, said: str) -> None:
    assert said in advice(OSError(number, "no"))
