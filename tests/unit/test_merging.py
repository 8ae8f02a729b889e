"""Which loads are merged: consecutive ones, old ones, and only when that is worth it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.merging import MOST_CANDLES, ROLLUPS, Load, plan_merges


def loads(*candles: int, fixed: tuple[int, ...] = ()) -> list[Load]:
    """Return loads of so many candles, numbered from 0; `fixed` ones cannot be merged."""
    return [Load(str(number), count, number not in fixed) for number, count in enumerate(candles)]


def numbers(groups: list[list[Load]]) -> list[list[int]]:
    return [[int(load.load_id) for load in group] for group in groups]


MODELS = Path(__file__).resolve().parents[2] / "dbt_project/models/rollups"


def test_every_rollup_is_known_to_merging():
    assert {path.stem for path in MODELS.glob("*.sql")} == set(ROLLUPS)


def test_the_newest_loads_stay_as_they_are():
    assert numbers(plan_merges(loads(*[10] * 6), keep=2, worth=1)) == [[0, 1, 2, 3]]


def test_nothing_happens_until_it_saves_enough():
    assert plan_merges(loads(*[10] * 100), keep=10, worth=90) == []
    assert len(plan_merges(loads(*[10] * 101), keep=10, worth=90)[0]) == 91


def test_a_load_that_changed_a_candle_parts_those_before_from_those_after():
    assert numbers(plan_merges(loads(*[10] * 7, fixed=(3,)), keep=0, worth=1)) == [[0, 1, 2], [4, 5, 6]]


def test_a_single_load_is_not_merged():
    assert plan_merges(loads(10, 10, 10, fixed=(1,)), keep=0, worth=0) == []


def test_a_merged_load_grows_no_further_than_that():
    big = MOST_CANDLES - 15
    assert numbers(plan_merges(loads(big, 10, 10, 10), keep=0, worth=1)) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_fewer_loads_than_are_kept_are_left_alone(count):
    assert plan_merges(loads(*[10] * count), keep=5, worth=0) == []


@given(
    st.lists(st.tuples(st.integers(0, MOST_CANDLES), st.booleans()), max_size=60),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_groups_are_runs_of_old_mergeable_loads_of_bounded_size(drawn, keep, worth):
    every = [Load(str(number), candles, mergeable) for number, (candles, mergeable) in enumerate(drawn)]
    groups = plan_merges(every, keep, worth)
    for group in groups:
        first = int(group[0].load_id)
        assert group == every[first : first + len(group)]
        assert len(group) > 1
        assert all(load.mergeable for load in group)
        assert sum(load.candles for load in group) <= MOST_CANDLES
        assert int(group[-1].load_id) < len(every) - keep
    members = [load.load_id for group in groups for load in group]
    assert len(members) == len(set(members))
    assert not groups or len(members) - len(groups) >= worth
