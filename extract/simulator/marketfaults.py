"""The faults of the market, which show in every reply and in the truth. See `faults`."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from extract.simulator.methods import FUNDING


@dataclass(frozen=True)
class Fault:
    """Any fault; `instrument` None means every one."""

    instrument: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outage(Fault):
    """Candles with `start <= tick < end` (ms) do not exist."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class BadCandle(Fault):
    """The candle at tick `at` (ms) has other values."""

    instrument: str
    at: int
    values: MappingProxyType[str, float] = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Revision(BadCandle):
    """A bad candle from the clock time `since` (ms) on."""

    since: int


@dataclass(frozen=True, kw_only=True)
class Delisted(Fault):
    """The perpetual leaves the listing at `at` (ms, UTC), and nothing trades from then on."""

    instrument: str
    at: int


@dataclass(frozen=True, kw_only=True)
class Relisted(Fault):
    """The perpetual is listed from `at` (ms, UTC) on, and trades again if it was delisted."""

    instrument: str
    at: int


@dataclass(frozen=True, kw_only=True)
class RowRevision(Fault):
    """The row of funding or settlements stamped `at` (ms) has other values from `since` (ms) on."""

    instrument: str
    at: int
    values: MappingProxyType[str, float] = field(hash=False)
    since: int = 0
    method: str = FUNDING
