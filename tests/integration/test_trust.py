"""Everything that can be wrong, at once: each finding once, with its reason, wherever people look."""

from __future__ import annotations

import csv
import html
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from extract.core.times import parse_range
from extract.database.database import Database
from extract.load.loader import Loader
from extract.load.result import IncompleteError
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, charts, set_clock, set_faults
from tests.support.loading import JAN, MINUTES, impatient
from tests.support.perps import PROJECT, PerpsRunner, Result, expect
from tests.support.truth import rows, table, truth

EXCHANGE = {"clock": "2024-01-15T00:00:30Z"}
HOUR_MS = 3_600_000
START, END = "2024-01-01T00:00:00Z", "2024-01-15T00:00:00Z"
LATE = "2025-02-20T00:00:30Z"
FAILED = {"kind": "http", "status": 503, "start": "2024-01-09", "end": "2024-01-10"}
OFF_GRID = {"kind": "off_grid", "start": "2024-01-06", "end": "2024-01-06T00:01", "row": 2000, "times": 3}


def candle(at: str, since: str | None = None, **values: float | str) -> dict[str, object]:
    fault = {"kind": "bad_candle", "instrument": BTC, "at": at, "values": values}
    return fault if since is None else fault | {"kind": "revision", "since": since}


MARKET = [
    {"kind": "outage", "start": "2024-01-02T06:00:00Z", "end": "2024-01-02T06:12:00Z"},
    {"kind": "outage", "start": "2024-01-03T10:00:00Z", "end": "2024-01-03T10:30:00Z"},
    candle("2024-01-05T01:00:00Z", high=1),
    candle("2024-01-05T02:00:00Z", volume=-1),
    candle("2024-01-05T03:00:00Z", close=999999),
    candle("2024-01-05T04:00:00Z", close="NaN"),
    candle("2024-01-14T23:30:00Z", since="2024-01-15T00:30:00Z", volume=123.5),
    candle("2024-01-05T12:00:00Z", since="2025-02-08T12:00:00Z", volume=321.5),
]
GAPS = [
    ("2024-01-02T05:59:00Z", "2024-01-02T06:12:00Z", "12", "source"),
    ("2024-01-03T09:59:00Z", "2024-01-03T10:30:00Z", "30", "known"),
    ("2024-01-05T03:59:00Z", "2024-01-05T04:01:00Z", "1", "rejected"),
    ("2024-01-05T20:38:00Z", "2024-01-05T20:40:00Z", "1", "rejected"),
    ("2024-01-07T22:39:00Z", "2024-01-11T10:00:00Z", "5000", "unfetched"),
]
INSANE = [
    ("2024-01-05T01:00:00Z", "high_below_low"),
    ("2024-01-05T02:00:00Z", "volume_negative"),
    ("2024-01-05T03:00:00Z", "close_outside_range"),
    ("2024-01-05T04:00:00Z", "not_a_number"),
    ("2024-01-05T20:39:01Z", "off_grid"),
]
REVISED = ["2024-01-05T12:00:00Z", "2024-01-14T23:30:00Z"]
KNOWN = f"{BTC},2024-01-03 09:59:00,2024-01-03 10:30:00,maintenance,empty on two days\n"


@dataclass(frozen=True)
class Story:
    """A database with every finding, and how people look at it."""

    run: Callable[..., Result]
    database: Database
    exchange: RunningSimulator
    folder: Path
    first_build: Result

    def reported(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def hours_asked(self) -> list[int]:
        """Return when each chart request since the log was cleared begins, in hours since 1 January 2024."""
        return [(entry.start - JAN) // HOUR_MS for entry in charts(self.exchange)]


@pytest.fixture(scope="module")
def story(
    module_database: Database,
    exchange: RunningSimulator,
    environment: dict[str, str],
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    clone = tmp_path_factory.mktemp("clone")
    for name in ("extract", "dbt_project"):
        shutil.copytree(PROJECT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dbt_project.yml", "profiles.yml.example"):
        shutil.copyfile(PROJECT / name, clone / name)
    with (clone / "dbt_project/seeds/known_gaps.csv").open("a") as seed:
        seed.write(KNOWN)
    perps = PerpsRunner({**environment, "PYTHONPATH": str(clone), "DBT_TARGET_PATH": str(clone / "target")})

    def run(*arguments: str) -> Result:
        return perps(*arguments, database=module_database, api=exchange.base_url)

    set_faults(exchange, *MARKET, FAILED, OFF_GRID)
    loader = Loader(impatient(exchange, attempts=2), module_database, home / "pipelines")

    def load(start: str, end: str) -> None:
        with pytest.raises(IncompleteError, match=r"2024-01-07T22:40Z\.\.2024-01-11T10:00Z"):
            loader.backfill([BTC], [MINUTES], parse_range(start, end))

    load(START, END)
    set_faults(exchange, *MARKET, FAILED)
    set_clock(exchange, "2024-01-15T01:10:30Z")
    expect(run("dbt", "--", "run"))
    load("2024-01-14T23:00", END)
    set_clock(exchange, LATE)
    checked = run("verify", "--start", "2024-01-05", "--end", "2024-01-06")
    assert checked.returncode == 1
    assert "2024-01-05 12:00:00Z" in checked.stdout
    load("2024-01-05T11:59", "2024-01-05T12:01")
    set_faults(exchange, *MARKET)
    built = run("dbt", "--", "build", "--exclude-resource-type", "unit_test")
    folder = tmp_path_factory.mktemp("report")
    expect(run("report", "--out", str(folder)))
    yield Story(run, module_database, exchange, folder, built)
    perps.stop()


def verdicts(built: Result) -> dict[str, str]:
    """Return the tests that did not pass."""
    found = re.findall(r"(FAIL|WARN) \d+ (\w+)", built.stdout)
    return {name: verdict for verdict, name in found}


def test_the_build_fails_for_the_right_tests_only(story: Story) -> None:
    assert story.first_build.returncode == 1
    assert re.search(
        r"^error: dbt build failed: 4 tests failed: no_rejected_candles \(\d+ rows?\), "
        r"perpetuals_ohlcv_coverage_99 \(\d+ rows?\), perpetuals_ohlcv_no_gaps \(\d+ rows?\) and 1 more; .*$",
        story.first_build.stderr,
        re.M,
    )
    assert verdicts(story.first_build) == {
        "perpetuals_ohlcv_no_gaps": "FAIL",
        "perpetuals_ohlcv_sanity": "FAIL",
        "no_rejected_candles": "FAIL",
        "perpetuals_ohlcv_coverage_99": "FAIL",
        "perpetuals_ohlcv_coverage_100": "WARN",
        "perpetuals_ohlcv_no_gaps_at_the_source": "WARN",
        "perpetuals_ohlcv_no_tail_gap": "WARN",
        "no_replaced_candles": "WARN",
    }


def test_each_finding_is_once_in_sql(story: Story) -> None:
    iso = """to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    gaps = rows(
        story.database,
        f"select {iso.format('gap_start')}, {iso.format('gap_end')}, gap_minutes::text, reason"
        " from quality.ohlcv_gaps order by 1",
    )
    assert gaps == GAPS
    insane = rows(
        story.database,
        f"select {iso.format('timestamp')}, rule from quality.ohlcv_violations union all"
        f" select {iso.format('timestamp')}, reason from quality.rejected_candles order by 1",
    )
    assert insane == INSANE
    revised = rows(
        story.database, f"select {iso.format('timestamp')} from quality.ohlcv_revisions order by 1"
    )
    assert revised == [(at,) for at in REVISED]


def test_each_finding_is_once_in_the_files(story: Story) -> None:
    gaps = story.reported("gap-report.csv")
    assert (
        sorted((gap["gap_start"], gap["gap_end"], gap["gap_minutes"], gap["reason"]) for gap in gaps) == GAPS
    )
    assert [gap["note"] for gap in gaps if gap["reason"] == "known"] == ["maintenance"]
    insane = story.reported("sanity-report.csv")
    assert sorted((row["timestamp"], row["rule"]) for row in insane) == INSANE
    revised = story.reported("revision-report.csv")
    assert sorted(row["timestamp"] for row in revised) == REVISED
    assert {row["new_volume"] for row in revised} == {"123.50000000", "321.50000000"}


def test_each_finding_is_once_on_the_page(story: Story) -> None:
    page = html.unescape((story.folder / "report.html").read_text(encoding="utf-8"))
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    cells = Counter(" ".join(cell.split()) for cell in re.findall(r"<td[^>]*>(.*?)</td>", body, re.S))
    shown = [gap[0] for gap in GAPS] + [at for at, _ in INSANE] + REVISED
    times = {at: at.replace("T", " ").removesuffix(":00Z").removesuffix("Z") for at in shown}
    seen = {
        at: sum(count for cell, count in cells.items() if cell.startswith(short))
        for at, short in times.items()
    }
    assert seen == dict.fromkeys(shown, 1)
    assert "SYNTHETIC" in body


def test_repair_fills_the_unanswered_window_and_asks_the_source_once_a_day(story: Story) -> None:
    story.exchange.simulator.log.clear()
    before = len(table(story.database))
    assert "5000 of 5000 candles found" in expect(story.run("repair"))
    # the outage, again in halves; two rejected candles; the window, widened to more than a reply holds
    assert set(story.hours_asked) == {24 + 5, 24 + 6, 4 * 24 + 3, 4 * 24 + 20, 6 * 24 + 22, 10 * 24 + 9}
    story.exchange.simulator.log.clear()
    assert story.run("repair").stdout.count("fetched since the last build") == 4
    assert story.hours_asked == []
    built = story.run("dbt", "--", "build", "--exclude-resource-type", "unit_test")
    assert "perpetuals_ohlcv_no_gaps" not in verdicts(built)
    # the source has no NaN's replacement; the tick off the grid was a fault of one reply
    assert len(table(story.database)) == before + 5001
    assert rows(story.database, "select reason, count(*) from quality.ohlcv_gaps group by 1 order by 1") == [
        ("known", 1),
        ("rejected", 1),
        ("source", 1),
    ]

    assert expect(story.run("repair")).count("skipped") == 2
    assert story.hours_asked == []
    set_clock(story.exchange, "2025-02-21T00:01:00Z")
    story.exchange.simulator.log.clear()
    expect(story.run("repair"))
    assert set(story.hours_asked) == {24 + 5, 24 + 6, 4 * 24 + 3}


def test_what_is_left_equals_the_market(story: Story) -> None:
    assert story.run("dbt", "--", "build", "--exclude-resource-type", "unit_test").returncode == 1
    assert table(story.database) == [
        row
        for row in truth(story.exchange.base_url, BTC, START, END)
        if row[0] != 1_704_427_200_000  # the close that is not a number
    ]
    expect(story.run("audit"))
