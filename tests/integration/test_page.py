"""`perps report`: every finding once in its file, and the page as a browser shows it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.report import queries, series
from extract.report.evidence import Evidence, write_report
from tests.support.exchange import BTC, ETH
from tests.support.page_browser import DARK, LIGHT, Looked, chromium, look
from tests.support.page_tables import GAPS, add_findings, add_instrument, create_tables
from tests.support.perps import Perps, expect
from tests.support.truth import rows

HOSTILE = "<script>alert(1)</script>"
EIGHT_YEARS = 2922
MONTH = 30 * 1440

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no chromium here: apt install chromium")

PROBE = """
const cells = () => [...page.querySelectorAll("#calendar .cell")];
const texts = (css) => [...page.querySelectorAll(css)].map((found) => found.textContent.trim());
const root = page.documentElement;
const seen = { drawn: [await drawn("BTC-PERPETUAL days")] };
seen.cells = cells().map((cell) => [cell.dataset.day, cell.dataset.state]);
seen.title = page.querySelector('[data-day="2025-12-20"] title').textContent;
seen.incomplete = texts("#incomplete li");
seen.gaps = [...page.querySelectorAll("#gaps tbody tr")].map((row) => ({
  text: [...row.cells].map((cell) => cell.textContent),
  visible: row.getBoundingClientRect().height > 10,
}));
seen.warning = page.getElementById("warning").textContent;
seen.warning_size = parseFloat(getComputedStyle(page.getElementById("warning")).fontSize);
seen.names = texts("#instruments tbody td:first-child");
seen.options = texts("#instrument option");
seen.cards = texts(".cards .value");
seen.traces = page.querySelectorAll("#chart g.trace.boxes path.box").length;
seen.bars = page.querySelectorAll("#chart g.trace.bars path").length;
seen.reach = [Math.max(root.scrollWidth, page.body.scrollWidth), root.clientWidth];

const stop = page.querySelector('#calendar .cell[tabindex="0"]');
seen.stops = page.querySelectorAll('#calendar .cell[tabindex="0"]').length;
stop.focus();
const press = (key) => page.activeElement.dispatchEvent(
  new frame.contentWindow.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })
);
press("ArrowLeft");
press("ArrowUp");
seen.walked = [page.activeElement.dataset.day, page.getElementById("day").textContent];

for (const range of ["hours", "minutes"]) {
  page.querySelector(`button[data-range="${range}"]`).click();
  seen.drawn.push(await drawn(`BTC-PERPETUAL ${range}`));
  seen[range] = page.querySelectorAll("#chart g.trace.boxes path.box").length;
  seen[`${range}_summary`] = page.getElementById("summary").textContent;
}
const select = page.getElementById("instrument");
select.value = String(seen.options.indexOf("<script>alert(1)</script>"));
select.dispatchEvent(new frame.contentWindow.Event("change"));
seen.drawn.push(await drawn("<script>alert(1)</script> minutes"));
seen.other_cells = cells().length;
seen.other_incomplete = page.getElementById("incomplete-title").textContent;
return seen;
"""

DARK_PROBE = """
await drawn("BTC-PERPETUAL days");
const seen = { page: getComputedStyle(page.body).backgroundColor };
seen.axis = getComputedStyle(page.querySelector("#chart .xtick text, #chart .x2tick text")).fill;
seen.ink = getComputedStyle(page.body).color;
seen.wide = page.documentElement.scrollWidth - page.documentElement.clientWidth;
const planted = page.createElement("script");
planted.textContent = "document.documentElement.dataset.planted = 'ran'";
page.body.append(planted);
seen.planted = page.documentElement.dataset.planted ?? "did not run";
seen.fetched = await frame.contentWindow.fetch("row-counts.txt").then(() => "came", () => "refused");
frame.contentWindow.console.error("a planted error");
return seen;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    create_tables(module_database)
    add_instrument(module_database, BTC, EIGHT_YEARS, MONTH, volume=1000)
    add_instrument(module_database, ETH, EIGHT_YEARS, MONTH, volume=500)
    add_instrument(module_database, HOSTILE, 40, 1440, volume=1)
    add_findings(module_database)
    return module_database


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def evidence(filled: Database, folder: Path) -> Evidence:
    return write_report(filled, folder)


@pytest.fixture(scope="module")
def narrow(evidence: Evidence, folder: Path) -> Looked:
    return look(folder, PROBE, width=360, flags=(LIGHT,))


@pytest.fixture(scope="module")
def dark(evidence: Evidence, folder: Path) -> Looked:
    return look(folder, DARK_PROBE, width=1200, flags=(DARK,))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def test_each_finding_is_in_its_file_exactly_once(evidence, folder):
    def listed(name: str, *columns: str) -> list[tuple[str, ...]]:
        return [tuple(row[column] for column in columns) for row in read(folder / f"{name}-report.csv")]

    gaps = listed("gap", "gap_start", "gap_minutes", "reason", "note")
    assert sorted(gaps) == sorted(
        (f"{at.replace(' ', 'T')}:00Z", str(long), why, note or "") for at, _, long, why, note in GAPS
    )
    assert [why for _, _, why, _ in gaps] == ["unfetched", "unfetched", "rejected", "source", "known"]
    assert sorted(listed("sanity", "timestamp", "rule")) == [
        ("2025-12-28T00:10:00Z", "not_a_number"),
        ("2025-12-29T00:05:00.500Z", "off_grid"),
        ("2025-12-30T01:00:00Z", "high_below_low"),
        ("2025-12-30T02:00:00Z", "volume_negative"),
        ("2025-12-30T03:00:00Z", "close_outside_range"),
    ]
    revised = listed("revision", "timestamp", "new_close")
    assert revised == [("2024-11-26T10:00:00Z", "105.00000000"), ("2025-12-31T10:00:00Z", "106.00000000")]
    rounded = [tuple(row.values()) for row in read(folder / "inexact-report.csv")]
    assert rounded == [
        (BTC, "2025-12-30", "2", "2025-12-30T04:00:00Z", "low", "0.0000000234", "0.00000002"),
        (BTC, "2020-03-11", "1400", "2020-03-11T08:58:00Z", "volume", "22.682721123", "22.68272112"),
    ]
    assert listed("jump", "timestamp", "move_percent") == [("2025-12-30T05:00:00Z", "50.00")]
    compared = listed("reconciliation", "status")
    assert compared == [("different",), ("different",), ("missing_in_minutes",)]
    assert listed("fill", "minutes") == [("252",)]
    assert evidence.counts == {
        **{"gaps": 5, "violations": 3, "rejected": 2, "inexact": 2},
        **{"jumps": 1, "revisions": 2, "reconciliation": 3, "fill_runs": 1},
        **{"funding_gaps": 0, "settlement_gaps": 0},
    }


def test_the_files_have_their_columns_with_and_without_rows(evidence, folder, database, tmp_path):
    create_tables(database)
    write_report(database, tmp_path)
    assert header(tmp_path / "gap-report.csv") == "instrument,gap_start,gap_end,gap_minutes,reason,note"
    assert header(tmp_path / "sanity-report.csv") == "instrument,timestamp,open,high,low,close,volume,rule"
    assert header(tmp_path / "fill-report.csv") == "instrument,run_start,run_end,minutes"
    rows_missing = "instrument,gap_start,gap_end,missing,reason,note"
    assert header(tmp_path / "funding-gap-report.csv") == rows_missing
    assert header(tmp_path / "settlement-gap-report.csv") == rows_missing
    for path in evidence.files[:9]:
        assert header(tmp_path / path.name) == header(path)
        assert len((tmp_path / path.name).read_text().splitlines()) == 1
    assert "No candles yet" in (tmp_path / "report.html").read_text()


def test_a_rejected_candle_is_shown_as_the_latest_load_brought_it(evidence, folder):
    nan = next(row for row in read(folder / "sanity-report.csv") if row["rule"] == "not_a_number")
    assert (nan["open"], nan["close"], nan["volume"]) == ("100", "NaN", "2")
    off_grid = next(row for row in read(folder / "sanity-report.csv") if row["rule"] == "off_grid")
    assert (off_grid["open"], off_grid["close"]) == ("0.1", "")


def test_row_counts_say_what_there_is_and_where_it_came_from(evidence, folder):
    text = (folder / "row-counts.txt").read_text()
    assert "origin: simulator - SYNTHETIC CANDLES, NOT MARKET DATA" in text
    assert "last load: 1767225870.5 at 2026-01-01T00:05:00Z" in text
    said = {line[:24].strip(): line[24:].split() for line in text.splitlines() if line}
    assert said["gaps"] == ["5", "unfetched", "2,", "rejected", "1,", "source", "1,", "known", "1"]
    assert (said["violations"], said["rejected candles"], said["revisions"]) == (["3"], ["2"], ["2"])
    assert said["days with rounded values"] == ["2"]
    assert " ".join(said["reconciled at 60"]) == "32 different 2, identical 29, missing in minutes 1"
    assert said[BTC][0] == f"{EIGHT_YEARS * 1440 - 1723:,}"
    assert said[BTC][-1] == "4"


def test_eight_years_of_two_instruments_stay_below_8_mb(evidence, folder):
    assert (folder / "report.html").stat().st_size < 8_000_000


def test_bars_open_the_chunks_of_their_days_only(filled):
    chunks = rows(filled, "select count(*) from timescaledb_information.chunks")[0][0]
    values = {"instrument": BTC, "start": "2025-12-25+00", "end": "2026-01-01+00", "width": "1 minute"}
    with filled.reading() as cursor:
        cursor.execute("explain " + queries.BARS, values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert chunks >= 5
    assert 1 <= len(set(re.findall(r"_hyper_\d+_\d+_chunk\b", plan))) <= 2


def test_the_command_writes_every_file_and_says_so(filled, perps: Perps, tmp_path):
    counts, *files = expect(perps("report", "--out", str(tmp_path), database=filled)).splitlines()
    assert "5 gaps, 3 violations, 2 rejected candles, 2 days with rounded values" in counts
    said = [Path(line).name for line in files]
    assert sorted(said) == sorted(path.name for path in tmp_path.iterdir())
    said_by_page = (tmp_path / "report.html").read_text().partition('<script type="application/json"')[0]
    assert filled.dbname in said_by_page
    assert filled.host not in said_by_page


@needs_chromium
def test_the_page_loads_without_console_errors_and_asks_for_nothing(narrow):
    assert narrow.console == []
    assert set(narrow.requested) <= {"/wrapper.html", "/report.html", "/favicon.ico"}


@needs_chromium
def test_the_calendar_has_a_cell_for_every_day_and_its_state(narrow, filled):
    days = rows(filled, "select day::text from quality.ohlcv_days where instrument = %s order by 1", BTC)
    cells = dict(narrow.answer["cells"])
    assert len(cells) == len(narrow.answer["cells"]) == EIGHT_YEARS
    assert sorted(cells) == [day for (day,) in days]
    assert {day: state for day, state in cells.items() if state != "complete"} == {
        **dict.fromkeys(("2025-12-20", "2025-12-22", "2025-12-28"), "partial"),
        **{"2025-12-09": "known", "2025-11-15": "empty"},
    }


@needs_chromium
def test_a_gap_is_visible_in_the_list_the_calendar_and_in_words(narrow):
    [shown] = [row["text"] for row in narrow.answer["gaps"] if row["text"][1] == "source"]
    assert shown[:5] == [BTC, "source", "2025-12-20 05:59", "2025-12-20 06:12", "12"]
    assert all(row["visible"] for row in narrow.answer["gaps"])
    assert "1,428 of 1,440 candles, incomplete; largest gap 12 min" in narrow.answer["title"]
    incomplete = ["2025-12-28", "2025-12-22", "2025-12-20", "2025-12-09", "2025-11-15"]
    assert [text[:10] for text in narrow.answer["incomplete"]] == incomplete


@needs_chromium
def test_synthetic_candles_are_called_that_in_large_letters(narrow):
    assert narrow.answer["warning"] == "SYNTHETIC CANDLES, NOT MARKET DATA"
    assert narrow.answer["warning_size"] >= 24


@needs_chromium
def test_an_instrument_named_like_a_script_is_text(narrow):
    assert narrow.answer["names"] == [HOSTILE, BTC, ETH]
    assert narrow.answer["options"] == [BTC, ETH, HOSTILE]
    assert narrow.answer["drawn"][-1] == f"{HOSTILE} minutes"
    assert narrow.answer["other_cells"] == 40
    assert narrow.answer["other_incomplete"] == "0 of 40 days incomplete"


@needs_chromium
def test_nothing_overflows_on_a_phone_and_on_a_wide_screen(narrow, dark):
    reach, room = narrow.answer["reach"]
    assert room >= 320
    assert reach <= room
    assert dark.answer["wide"] <= 0


@needs_chromium
def test_the_chart_shows_days_hours_and_minutes(narrow):
    assert narrow.answer["drawn"][:3] == [f"{BTC} {name}" for name in ("days", "hours", "minutes")]
    assert narrow.answer["traces"] == narrow.answer["bars"] == EIGHT_YEARS - 1  # a day is without candles
    assert narrow.answer["hours"] == 30 * 24 - 4  # four hours were never fetched
    assert narrow.answer["minutes"] == 7 * 1440 - 1  # one minute was rejected
    assert "2025-12-25 to 2025-12-31" in narrow.answer["minutes_summary"]


@needs_chromium
def test_the_calendar_is_one_tab_stop_and_arrow_keys_walk_it(narrow):
    assert narrow.answer["stops"] == 1
    day, said = narrow.answer["walked"]
    assert day == "2025-12-23"
    assert said.startswith("2025-12-23: 1,440 of 1,440 candles, complete")


@needs_chromium
def test_a_dark_screen_gets_a_dark_page_and_chart(dark):
    red, green, blue = (int(part) for part in dark.answer["page"][4:-1].split(","))
    assert max(red, green, blue) < 60
    assert dark.answer["axis"] == dark.answer["ink"]


@needs_chromium
def test_a_planted_script_does_not_run_and_nothing_is_fetched(dark):
    assert dark.answer["planted"] == "did not run"
    assert dark.answer["fetched"] == "refused"
    assert "/row-counts.txt" not in dark.requested
    assert any("a planted error" in line for line in dark.console)  # errors would have been seen


@needs_chromium
def test_what_does_not_fit_is_left_out_and_said(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(series, "BUDGET", 400_000)
    write_report(filled, tmp_path)
    probe = """
    await drawn("BTC-PERPETUAL days");
    const button = page.querySelector('button[data-range="minutes"]');
    button.click();
    await drawn("BTC-PERPETUAL minutes");
    return [button.getAttribute("aria-disabled"), page.getElementById("summary").textContent,
      page.getElementById("history").textContent];
    """
    looked = look(tmp_path, probe)
    disabled, summary, section = looked.answer
    assert looked.console == []
    assert disabled == "true"
    assert "omitted to keep this page small" in summary
    assert "Last 7 days (minutes): omitted for every instrument" in section
