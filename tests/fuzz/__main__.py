"""Fuzz by hand: `python -m tests.fuzz MINUTES [SEED]` prints its figures, or the body that broke.

With atheris installed (Linux, by hand) `python -m tests.fuzz atheris` is guided by coverage; it takes
libFuzzer's options.
"""

from __future__ import annotations

import logging
import random
import resource
import sys
import time
from collections.abc import Sequence

from tests.fuzz.replies import Seed, check, mutate, seeds
from tests.support.perps import SHARED

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


def guided(arguments: Sequence[str]) -> None:
    """Let atheris find bodies; it ends the process at the first that breaks."""
    import atheris  # noqa: PLC0415  # optional

    known = seeds(RECORDED if RECORDED.is_dir() else None)
    asked = [Seed(b"", seed.resolution, seed.start_ms, seed.end_ms) for seed in known]

    def one(data: bytes) -> None:
        if data:
            check(asked[data[0] % len(asked)], data[1:])

    atheris.instrument_all()
    atheris.Setup(["fuzz", *arguments], one)
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> None:
    """Run what is asked for."""
    logging.disable(logging.CRITICAL)
    if arguments[:1] == ["atheris"]:
        guided(arguments[1:])
        return
    given = [*arguments, "1"][: max(1, len(arguments))]
    seed = int(given[1]) if len(given) > 1 else time.time_ns() % 1_000_000
    print(f"seed {seed}", flush=True)
    fuzz(float(given[0]), seed)


if __name__ == "__main__":
    main(sys.argv[1:])
