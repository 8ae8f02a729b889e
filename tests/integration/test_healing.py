"""Hands that delete: the next build heals what is gone, or fails and says what heals it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.dbt_project import DAY, Candle, DbtProject, DbtResult, candles, minute

MONTHS = 100
BUILD = ("build", "--exclude-resource-type", "unit_test")
LOOKED_AT = ("+ohlcv_candle_days", "path:dbt_project/models/rollups", "candles_match_days")
PART = (*BUILD, "--indirect-selection", "cautious", "--select", *LOOKED_AT)
ADVICE = r"run-operation (\w+) --args '(\{model: \w+\})'"
CONTENT = " union all ".join(
    f"select md5(string_agg(kept::text, ',' order by kept::text)) from {table} as kept"
    for table in (
        *("public.perpetuals_ohlcv", "quality.ohlcv_candle_days"),
        *("public.perpetuals_ohlcv_1h", "public.perpetuals_ohlcv_1d"),
    )
)

HEALED = (
    "drop table public.perpetuals_ohlcv cascade",
    "delete from public.perpetuals_ohlcv",
    "select drop_chunks('public.perpetuals_ohlcv', timestamptz '2100-01-01')",
    "drop table quality.ohlcv_candle_days cascade",
    "truncate quality.ohlcv_candle_days",
    "drop table public.perpetuals_ohlcv_5m cascade",
    "truncate public.perpetuals_ohlcv_1h",
    "truncate public.perpetuals_ohlcv; truncate quality.ohlcv_candle_days",
)
"""What is gone as a whole is made again by the next build."""

CANDLES, HOUR, DAYS = "candles_match_days", "perpetuals_ohlcv_1h_sanity", "perpetuals_ohlcv_1d_sanity"
FOUND = {
    "delete from public.perpetuals_ohlcv where timestamp < '2024-01-15'": CANDLES,
    "select drop_chunks('public.perpetuals_ohlcv', timestamptz '2024-02-15')": CANDLES,
    "delete from public.perpetuals_ohlcv where timestamp > '2024-04-09 12:00+00'": CANDLES,
    "update public.perpetuals_ohlcv set high = high + 1 where timestamp = '2024-04-09 12:00+00'": CANDLES,
    "delete from public.perpetuals_ohlcv where instrument = 'ETH-PERPETUAL'": CANDLES,
    "delete from quality.ohlcv_candle_days where day = '2024-01-01'": CANDLES,
    "delete from quality.ohlcv_candle_days where instrument = 'ETH-PERPETUAL'": CANDLES,
    "delete from public.perpetuals_ohlcv_1h where timestamp = '2024-04-09 12:00+00'": HOUR,
    "update public.perpetuals_ohlcv_1d set volume = 1 where timestamp = '2024-04-09'": DAYS,
}
"""What is gone in part fails a test that says what heals it."""


@pytest.fixture(scope="module")
def whole(warm: DbtProject) -> tuple[DbtProject, list[Any]]:
    """A hundred days of a quarter of an hour each, in four chunks, and what every table holds of them."""
    warm.start_anew()
    rows = [each for day in range(MONTHS) for each in candles(day * DAY + 720, day * DAY + 735)]
    warm.land("10.5", [*rows, *candles(99 * DAY, 99 * DAY + 30, instrument="ETH-PERPETUAL")])
    warm.land("11.5", [Candle(minute(720), close=99.0)])
    assert broken(warm.run(*BUILD)) == set()
    return warm, warm.query(CONTENT)


def broken(outcome: DbtResult) -> set[str]:
    """Return what did not end well, but for what is true of these candles: they have holes."""
    bad = {name for name, status in outcome.statuses.items() if status in ("fail", "error", "skipped")}
    return bad - {"perpetuals_ohlcv_no_gaps", "perpetuals_ohlcv_coverage_99"}


@pytest.mark.parametrize("deed", HEALED)
def test_what_is_gone_as_a_whole_is_made_again_by_the_next_build(whole: Any, deed: str) -> None:
    project, content = whole
    project.query(deed)
    built = project.run(*BUILD)
    assert broken(built) == set(), built.output
    assert project.query(CONTENT) == content


@pytest.mark.parametrize("deed", FOUND)
def test_what_is_gone_in_part_fails_the_next_build_which_names_what_heals_it(whole: Any, deed: str) -> None:
    project, content = whole
    project.query(deed)
    found = project.run(*PART)
    assert not found.success
    assert FOUND[deed] in broken(found)
    said = [line for line in found.output.splitlines() if line.startswith(FOUND[deed]) and "to fix" in line]
    named = re.search(ADVICE, " ".join(said))
    assert named, said or found.output
    assert project.run("run-operation", named[1], "--args", named[2]).success
    healed = project.run(*PART)
    assert broken(healed) == set(), healed.output
    assert project.query(CONTENT) == content


SPANS = re.compile(r"with history as \(.*?from spans\s.*?order by 1", re.S)


def test_ninety_seven_minutes_look_at_every_day_of_the_table(whole: Any) -> None:
    """A part of all days is compared with its candles by each build, another one each minute."""
    project, _ = whole
    said = project.run("test", "--select", "candles_match_days").output
    query = SPANS.search(said)
    assert query, said
    project.query(
        "create schema later; create function later.now() returns timestamptz stable language sql as $$"
        " select pg_catalog.now() + current_setting('perps.minute')::integer * interval '1 minute' $$"
    )
    seen: set[str] = set()
    with project.database.reading() as cursor:
        cursor.execute("set search_path = later, pg_catalog, public")
        for number in range(97):
            cursor.execute(f"set perps.minute = '{number}'")
            cursor.execute(
                "select days.day::text from quality.ohlcv_candle_days as days"
                f" inner join ({query[0]}) as spans"
                " on days.day >= spans.starts_at::timestamptz and days.day < spans.ends_at::timestamptz"
            )
            looked = [day for (day,) in cursor.fetchall()]
            assert len(looked) < MONTHS / 10
            seen |= set(looked)
        cursor.execute("select distinct day::text from quality.ohlcv_candle_days")
        assert seen == {day for (day,) in cursor.fetchall()}
        cursor.execute("drop schema later cascade")
