"""The promise, for a few seeds that hit every part of a load, dbt and the server. `make soak` runs more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.server.cluster import EmbedError
from tests.faults.promise.run import carry_out
from tests.faults.promise.soak import enter
from tests.faults.promise.stage import Stage, open_stage

SEEDS = (2, 3)


@pytest.fixture(scope="module")
def stage(cache: Path) -> Iterator[Stage]:
    opened = open_stage(cache)
    try:
        stage = opened.__enter__()
    except EmbedError as error:
        pytest.skip(f"no embedded TimescaleDB here: {error}")
    yield stage
    opened.__exit__(None, None, None)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_cut_or_denied_the_table_is_the_truth_in_the_end(seed: int, stage: Stage) -> None:
    enter(carry_out(seed, stage))
