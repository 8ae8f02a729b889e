"""The pure parts of the property test: scenarios come from seeds alone, and its checks can fail."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from extract.simulator.faultparsing import parse_faults
from tests.faults.promise.checks import buckets_too, compare, remaining, unexcused, wrong_cursor
from tests.faults.promise.points import POINTS, Hit, hooked
from tests.faults.promise.scenario import DBT, DEV, NAMES, PLAIN, draw

SEEDS = range(1, 101)
BTC, ETH = NAMES[:2]
ONE, TWO = (Decimal(1),), (Decimal(2),)


def test_a_seed_always_draws_the_same_scenario_whatever_was_drawn_before() -> None:
    first = [str(draw(seed)) for seed in SEEDS]
    random.seed(0)
    assert [str(draw(seed)) for seed in SEEDS] == first
    assert len(set(first)) == len(first)


def test_the_first_hundred_seeds_hit_every_point_with_every_action_before_and_after() -> None:
    hits = [step.hit for seed in SEEDS for step in draw(seed).steps if step.hit]
    assert {(hit.part, hit.point) for hit in hits} == {(part, at) for part in POINTS for at in POINTS[part]}
    actions = {"kill", "crash", "terminate", "interrupt", "end"}
    assert {(hit.action, hit.moment) for hit in hits} == {
        (action, moment) for action in actions for moment in ("before", "after")
    }
    outside = {step.outside.action for seed in SEEDS for step in draw(seed).steps if step.outside}
    assert outside == actions


def test_the_first_hundred_seeds_have_delistings_and_settings_of_others() -> None:
    scenarios = [draw(seed) for seed in SEEDS]
    gone = {(scenario.delisted_ms is not None, scenario.listed_again) for scenario in scenarios}
    assert gone == {(False, False), (True, False), (True, True)}
    assert {step.foreign for scenario in scenarios for step in scenario.steps} == {True, False}


def test_there_are_second_targets_and_builds_beside_every_kind_of_command() -> None:
    besides = {(step.command, step.beside) for seed in SEEDS for step in draw(seed).steps if step.beside}
    assert {target for _, target in besides} == set(PLAIN)
    assert {command for command, _ in besides} >= {"update", "backfill", "build", DEV}
    assert {draw(seed).has_dev for seed in SEEDS} == {True, False}


def test_commands_are_hit_at_points_that_they_pass_and_every_fault_can_be_injected() -> None:
    for scenario in map(draw, SEEDS):
        parse_faults([*scenario.market, *(fault for step in scenario.steps for fault in step.faults)])
        for step in scenario.steps:
            assert step.hit is None or (step.hit.part == "dbt") == (step.command in DBT)
            assert step.hit is None or step.outside is None


@pytest.mark.parametrize(("moment", "seen"), [("before", [1, "hit", 2, 3]), ("after", [1, 2, "hit", 3])])
def test_a_point_is_hit_once_at_the_pass_that_was_drawn(moment: str, seen: list[object]) -> None:
    told: list[object] = []
    wrapped = hooked(told.append, Hit("load", "copy", moment, 2), lambda: told.append("hit"))
    for number in (1, 2, 3):
        wrapped(number)
    assert told == seen


def test_of_a_point_with_a_text_only_calls_with_it_are_passes() -> None:
    told: list[object] = []
    wrapped = hooked(told.append, Hit("dbt", "mark", "before", 2), lambda: told.append("hit"), "update")
    for text in ("for update", "select", "for update"):
        wrapped(text)
    assert told == ["for update", "select", "hit", "for update"]


def test_the_comparison_tells_missing_invented_and_wrong_candles_apart() -> None:
    difference = compare({(BTC, 1): ONE, (BTC, 2): TWO}, {(BTC, 0): ONE, (BTC, 1): ONE, (BTC, 2): ONE})
    assert difference.missing == {(BTC, 0)}
    assert difference.invented == set()
    assert difference.wrong == {(BTC, 2)}
    assert not difference.none
    assert len(remaining(difference)) == 2
    assert remaining(compare({(BTC, 1): ONE}, {(BTC, 1): ONE})) == []
    assert len(remaining(compare({(ETH, 1): ONE}, {}))) == 1


def cursor(landed: set[int], owed: list[tuple[int, int]], answered: list[tuple[int, int]]) -> list[str]:
    return wrong_cursor(BTC, 4, 1, range(10), landed, owed, answered)


def test_a_cursor_that_has_passed_a_candle_without_a_trace_is_wrong() -> None:
    assert cursor({1, 2, 3, 4}, [], []) == []
    assert cursor({1, 2, 4}, [(3, 4)], []) == []
    assert cursor({1, 2, 4}, [], [(0, 9), (2, 4)]) == []
    assert len(cursor({1, 2, 4}, [], [(0, 9)])) == 1
    assert len(cursor({1, 2, 4}, [(1, 3), (4, 9)], [])) == 1


def test_a_cursor_beyond_its_newest_candle_is_wrong() -> None:
    assert len(cursor({1, 2, 3}, [(4, 5)], [])) == 1


def test_only_named_gaps_of_a_lying_exchange_and_ranges_never_asked_for_excuse_a_missing_candle() -> None:
    difference = compare({(BTC, 5): ONE}, {(BTC, 5): ONE, (BTC, 7): ONE})
    gap, first = {BTC: [(5, 9)]}, {BTC: 5}
    assert unexcused(difference, {}, set(), gap, first, deceived=True) == []
    assert len(unexcused(difference, {}, set(), gap, first, deceived=False)) == 1
    assert len(unexcused(difference, {}, set(), {}, first, deceived=True)) == 1
    assert unexcused(difference, {BTC: 8}, set(), {}, first, deceived=False) == []


def test_only_a_revision_excuses_another_value_and_nothing_an_invented_candle() -> None:
    difference = compare({(BTC, 5): TWO}, {(BTC, 5): ONE})
    assert unexcused(difference, {}, {(BTC, 5)}, {}, {BTC: 5}, deceived=True) == []
    assert len(unexcused(difference, {}, set(), {}, {BTC: 5}, deceived=True)) == 1
    invented = compare({(BTC, 5): TWO}, {})
    assert len(unexcused(invented, {}, {(BTC, 5)}, {BTC: [(4, 6)]}, {BTC: 5}, deceived=True)) == 1


def test_a_tick_off_the_grid_stands_for_its_bucket() -> None:
    assert buckets_too({60_000, 121_000}) == {60_000, 120_000, 121_000}
