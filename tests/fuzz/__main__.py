"""Fuzz by hand: `python -m tests.fuzz MINUTES [SEED]` prints its figures, or the body that broke."""

from __future__ import annotations

import logging
import random
import resource
import sys
import time
from collections.abc import Sequence

from tests.conftest import SHARED
from tests.fuzz.replies import check, mutate, seeds

RECORDED = SHARED / "deribit/recorded"
GROWTH_KB = 200_000


def fuzz(minutes: float, seed: int) -> None:
    """Mutate replies for some minutes.

    Raises:
        SystemExit: a case broke; it says which.
    """
    rng, known = random.Random(seed), seeds(RECORDED if RECORDED.is_dir() else None)
    began, cases, charts = time.monotonic(), 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.monotonic() - began < 60 * minutes:
        base = rng.choice(known)
        body = mutate(rng, base, known)
        cases += 1
        try:
            charts += check(base, body)
        except Exception as error:
            raise SystemExit(
                f"case {cases} of seed {seed}: {type(error).__name__}: {error}\n{body!r}"
            ) from error
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"replies: {cases:,} cases, {charts:,} of them charts, {time.monotonic() - began:.0f} s, seed {seed}"
    )
    if grown > GROWTH_KB:
        raise SystemExit(f"expected at most {GROWTH_KB:,} kB more memory, got {grown:,}")


def main(arguments: Sequence[str]) -> None:
    """Run for the minutes, and from the seed, that are asked for."""
    logging.disable(logging.CRITICAL)
    default = ("1", str(time.time_ns() % 1_000_000))
    minutes, seed = (*arguments, *default[len(arguments) :])
    print(f"seed {seed}", flush=True)
    fuzz(float(minutes), int(seed))


if __name__ == "__main__":
    main(sys.argv[1:])
