"""How much is measured: from the flags of `python -m tests.benchmarks`."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.spans import FULL, newest, oldest


@dataclass(frozen=True)
class Plan:
    """Sizes in candles.

    Attributes:
        runs: how often each command is measured; the median counts.
        sizes: of the backfills.
        full: what is loaded, built, checked and queried.
        small: the table whose increments are compared with those of `full`.
        memory: of the loads whose peak memory is compared.
        habit: how much the habit baseline loads.
        peers: how much this tool and its peers load.
        faults: how many of the ten faults they go through.
        replies: asked of the simulator to see what it can serve.
        minutes: real ones that a run stays for.
        turns: simulated minutes that a run stays for.
        prepared: whether the simulator renders its replies first.
    """

    runs: int = 3
    sizes: tuple[int, ...] = (100_000, 1_000_000, FULL)
    full: int = FULL
    small: int = 500_000
    memory: tuple[int, ...] = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
    habit: int = 300_000
    peers: int = 500_000
    faults: int = 10
    replies: int = 3_000
    minutes: int = 60
    turns: int = 2_000
    prepared: bool = True

    @property
    def clock_ms(self) -> int:
        """Return the end of the longest history that is asked for."""
        sizes = (*self.sizes, *self.memory, self.full, self.small)
        return max(max(newest(size).end_ms, oldest(size).end_ms) for size in sizes)


QUICK = Plan(
    runs=1,
    sizes=(20_000, 100_000),
    full=200_000,
    small=50_000,
    memory=(100_000, 200_000),
    habit=20_000,
    peers=20_000,
    faults=1,
    replies=300,
    minutes=2,
    turns=8,
)
