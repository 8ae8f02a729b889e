"""Rollups: what they hold, which of their buckets a build writes, and what their tests notice."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.dbt_project import DAY, Candle, DbtProject, candles, minute

ROLLUPS = {
    **{"5m": (5, 0), "15m": (15, 0), "1h": (60, 0), "4h": (240, 0)},
    **{"1d": (1440, 0), "1d_settlement": (1440, 8)},
}
"""Minutes of a bucket, and an hour at which one opens."""

YEARS_LATER = 3 * 365 * DAY
MODELS = tuple(f"perpetuals_ohlcv_{name}" for name in ROLLUPS)
SANITY = tuple(f"{model}_sanity" for model in MODELS)
BUILD = ("--select", "perpetuals_ohlcv", *MODELS)

CONTRADICTIONS = (
    *("high = low - 1", "open = high + 1", "close = high + 1", "open = low - 1", "close = low - 1"),
    *("volume = -1", "complete = not complete"),
    *("candles = 0, complete = false", "candles = 6, complete = false"),
)
COMMENTS = """
select objoid::regclass::text, objsubid, description, pg_description.xmin::text
from pg_description
where objoid in (select ('public.perpetuals_ohlcv_' || name)::regclass from unnest(array{names}) as name)
order by 1, 2
""".replace("{names}", str([*ROLLUPS]))


def market(first: int, last: int, instrument: str = "BTC-PERPETUAL") -> list[Candle]:
    """Return candles whose every value differs, without every 97th minute."""
    drawn = random.Random(f"{instrument} {first}")
    found = []
    for number in range(first, last):
        low, opened, close, high = (drawn.randrange(1, 10**6) / 64 for _ in range(4))
        low, *between, high = sorted((low, opened, close, high))
        volume = drawn.randrange(640) * 1e7  # a sum of few is too large for the column of one
        if number % 97:
            values = (between[0], high, low, between[1], volume)
            found.append(Candle(minute(number), instrument, "1", *values))
    return found


def rolled(base: list[Candle], name: str, base_minutes: int = 1) -> list[tuple[Any, ...]]:
    """Return the rollup of the newest version of each candle, by Python alone."""
    minutes, _ = ROLLUPS[name]
    newest = {(each.instrument, each.timestamp): each for each in base}
    buckets: dict[tuple[datetime, str], list[Candle]] = defaultdict(list)
    for each in sorted(newest.values(), key=lambda candle: candle.timestamp):
        buckets[bucket_of(each, name)].append(each)
    return [
        (
            *key,
            Decimal(found[0].open),
            Decimal(max(each.high for each in found)),
            Decimal(min(each.low for each in found)),
            Decimal(found[-1].close),
            sum(Decimal(each.volume) for each in found),
            len(found),
            len(found) == minutes // base_minutes,
        )
        for key, found in sorted(buckets.items())
    ]


def stored(project: DbtProject, name: str) -> list[tuple[Any, ...]]:
    rows = project.query(
        "select extract(epoch from timestamp)::bigint, instrument, open, high, low, close, volume, candles,"
        f" complete from public.perpetuals_ohlcv_{name} order by timestamp, instrument"
    )
    return [(datetime.fromtimestamp(at, UTC), *rest) for at, *rest in rows]


def written(project: DbtProject, name: str) -> dict[tuple[datetime, str], tuple[str, ...]]:
    """Return where every bucket lies and which transaction wrote it: both change when it is written again."""
    rows = project.query(
        "select extract(epoch from timestamp)::bigint, instrument, tableoid::regclass::text, ctid::text,"
        f" xmin::text from public.perpetuals_ohlcv_{name}"
    )
    return {(datetime.fromtimestamp(at, UTC), instrument): place for at, instrument, *place in rows}


def changed(before: dict[Any, Any], after: dict[Any, Any]) -> set[Any]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def bucket_of(candle: Candle, name: str) -> tuple[datetime, str]:
    minutes, anchor = ROLLUPS[name]
    length, epoch = timedelta(minutes=minutes), datetime(1970, 1, 1, anchor, tzinfo=UTC)
    return epoch + (candle.timestamp - epoch) // length * length, candle.instrument


def checks(project: DbtProject) -> dict[str, str]:
    """Return how the rollups' tests end, the audit included."""
    tested = ("--select", "audit_rollups", "test_name:rollup_sanity", "--vars", "{audit: true}")
    statuses = project.run("test", "--store-failures", *tested).statuses
    return {name: status for name, status in statuses.items() if name in ("audit_rollups", *SANITY)}


def problems(project: DbtProject, name: str) -> list[str]:
    """Return what the last test of a rollup has stored as wrong with it."""
    found = project.query(f"select problem from test_failures.perpetuals_ohlcv_{name}_sanity")
    return [problem for (problem,) in found]


@pytest.fixture(scope="module")
def history() -> list[Candle]:
    """Two days and a half of two perpetuals, and half a day three years later."""
    return [
        candle
        for first, length in ((0, 2 * DAY + 700), (YEARS_LATER, 704))
        for instrument in ("BTC-PERPETUAL", "ETH-PERPETUAL")
        for candle in market(first, first + length, instrument)
    ]


def test_rollups_are_what_python_makes_of_the_candles_and_only_touched_buckets_are_written(
    project: DbtProject, history: list[Candle]
) -> None:
    project.land("10.5", history)
    project.build("--select", "+perpetuals_ohlcv", *MODELS)
    for name in ROLLUPS:
        assert stored(project, name) == rolled(history, name), name

    before = {name: written(project, name) for name in ROLLUPS}
    comments = project.query(COMMENTS)
    assert len(comments) == len(MODELS) * 10, "one for each table, one for each of nine columns"
    project.build(*BUILD)
    assert {name: written(project, name) for name in ROLLUPS} == before, "written without a new load"
    assert project.query(COMMENTS) == comments, "the same comment was written again"

    # one minute of three years ago, and the newest one, which completes five minutes
    late = next(each for each in history if each.timestamp > minute(DAY + 61))
    repaired = late._replace(high=9e6, volume=77.0)
    newest = Candle(minute(YEARS_LATER + 704), high=1e6, close=1e6)
    project.land("11.5", [repaired, newest])
    forming = stored(project, "5m")[-2:]
    project.build(*BUILD)
    for name in ROLLUPS:
        assert stored(project, name) == rolled([*history, repaired, newest], name), name
        touched = {bucket_of(repaired, name), bucket_of(newest, name)}
        assert changed(before[name], written(project, name)) == touched, name
    assert [row[-2:] for row in forming] == [(4, False), (4, False)]
    assert [row[-2:] for row in stored(project, "5m")[-2:]] == [(5, True), (4, False)]
    assert checks(project) == {"audit_rollups": "pass", **dict.fromkeys(SANITY, "pass")}


def test_a_wrong_a_missing_and_an_empty_rollup_are_noticed_and_healed_by_reading_loads_again(
    project: DbtProject,
) -> None:
    base = market(0, 700)
    project.land("10.5", base)
    project.build("--select", "+perpetuals_ohlcv", *MODELS)
    for number, wrong in enumerate(CONTRADICTIONS):
        at = minute(5 * number)
        project.query(f"update public.perpetuals_ohlcv_5m set {wrong} where timestamp = '{at}'")
    project.query("delete from public.perpetuals_ohlcv_15m")
    project.query("update public.perpetuals_ohlcv_1h set complete = not complete")
    # these agree with themselves
    project.query("update public.perpetuals_ohlcv_4h set volume = volume + 0.00000001")
    project.query(f"delete from public.perpetuals_ohlcv_1d_settlement where timestamp = '{minute(480)}'")
    project.query("update public.perpetuals_ohlcv_1d set timestamp = timestamp - interval '1 day'")
    assert checks(project) == {"audit_rollups": "fail", **dict.fromkeys(SANITY, "fail")}
    assert problems(project, "5m").count("contradicts itself") == len(CONTRADICTIONS)
    assert "no rows" in problems(project, "15m")
    assert set(problems(project, "4h")) == {"not what perpetuals_ohlcv_1h makes of it"}
    audited = project.query("select distinct model from test_failures.audit_rollups order by 1")
    assert audited == [(model,) for model in sorted(MODELS)]

    # what is made from a rollup that reads its loads again reads them again as well
    project.query("delete from public.perpetuals_ohlcv_1d")
    assert project.reread("perpetuals_ohlcv_5m").success
    project.build("--select", *MODELS)
    for name in ROLLUPS:
        assert stored(project, name) == rolled(base, name), name


def test_rollups_that_were_left_out_of_builds_say_so_and_catch_up(project: DbtProject) -> None:
    project.land("10.5", market(0, 300))
    project.build("--select", "+perpetuals_ohlcv", *MODELS)
    more, late = market(300, 2000), candles(10, 12, high=9e6)
    project.land("11.5", more)
    project.land("12.5", late)
    everything = [*market(0, 300), *more, *late]
    project.build("--select", "perpetuals_ohlcv", "perpetuals_ohlcv_1d")
    # the others are what the one that is behind makes of them
    behind = dict.fromkeys(SANITY, "pass") | {"audit_rollups": "fail", "perpetuals_ohlcv_5m_sanity": "fail"}
    assert checks(project) == behind
    assert "behind perpetuals_ohlcv" in problems(project, "5m")

    project.build("--select", "perpetuals_ohlcv_5m", "perpetuals_ohlcv_1h", "perpetuals_ohlcv_1d_settlement")
    assert stored(project, "5m") == rolled(everything, "5m")
    assert stored(project, "1d_settlement") == rolled(market(0, 300), "1d_settlement")
    project.build("--select", *MODELS)
    for name in ROLLUPS:
        assert stored(project, name) == rolled(everything, name), name


def test_a_late_candle_of_compressed_rollups_is_in_all_of_them(project: DbtProject) -> None:
    if project.query("show timescaledb.license") != [("timescale",)]:
        pytest.skip("this server is of the Apache edition, which has no columnstore")
    upkeep = ("run-operation", "upkeep")
    base = market(0, 3 * DAY)
    project.land("10.5", base)
    project.build("--select", "+perpetuals_ohlcv", *MODELS)
    assert project.run(*upkeep).success
    assert chunk_statuses(project) == {1}
    late = [Candle(minute(DAY + 97), high=9e6), base[-1]._replace(low=0.015625)]
    project.land("11.5", late)
    project.build(*BUILD)
    assert 1 not in chunk_statuses(project), "each has a bucket to be compressed again"
    for name in ROLLUPS:
        assert stored(project, name) == rolled([*base, *late], name), name
    assert project.run(*upkeep).success
    assert chunk_statuses(project) == {1}
    assert checks(project) == {"audit_rollups": "pass", **dict.fromkeys(SANITY, "pass")}


def chunk_statuses(project: DbtProject) -> set[int]:
    """Return how the rollups' chunks are kept: 1 is compressed, more than that is in part."""
    rows = project.query(
        "select _timescaledb_functions.chunk_status(format('%I.%I', chunk_schema, chunk_name)::regclass)"
        " from timescaledb_information.chunks where hypertable_name like 'perpetuals_ohlcv\\__%'"
    )
    assert len(rows) >= len(MODELS)
    return {status for (status,) in rows}


@pytest.mark.long
@pytest.mark.parametrize(
    ("resolution", "names"),
    [
        ("5", ("15m", "1h", "4h", "1d", "1d_settlement")),
        ("30", ("1h", "4h", "1d", "1d_settlement")),
        ("120", ("4h", "1d", "1d_settlement")),
        ("360", ()),
        ("720", ("1d_settlement",)),
        ("1D", ()),
    ],
)
def test_other_base_resolutions_have_the_rollups_that_their_candles_make_up(
    project: DbtProject, resolution: str, names: tuple[str, ...]
) -> None:
    base_minutes = DAY if resolution == "1D" else int(resolution)
    opens = 480 if base_minutes >= 720 else 0
    base = [
        Candle(minute(opens + number * base_minutes), resolution=resolution, high=110.0 + number)
        for number in range(1, 5 * DAY // base_minutes)
    ]
    project.land("10.5", base)
    named = f"base_resolution: '{resolution}', gap_threshold_minutes: {base_minutes}"
    variables = ("--vars", f"{{{named}}}")
    built = project.run("build", "--exclude-resource-type", "unit_test", *variables)
    assert "error" not in built.statuses.values(), built.output
    assert {each for each in built.statuses if each in MODELS} == {
        f"perpetuals_ohlcv_{name}" for name in names
    }
    for name in names:
        assert stored(project, name) == rolled(base, name, base_minutes), name
    if names:
        audited = project.run("test", "--select", "audit_rollups", "--vars", f"{{{named}, audit: true}}")
        assert audited.statuses == {"audit_rollups": "pass"}
