"""The page with funding and open interest: what it draws, says and lists; without them it says nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.report.evidence import Evidence, write_report
from tests.support.exchange import BTC, ETH
from tests.support.page_browser import LIGHT, Looked, chromium, look
from tests.support.page_funding import add_funding, add_funding_gap
from tests.support.page_tables import add_instrument, create_tables
from tests.support.truth import rows

DAYS = 100
WEEK = 7 * 1440

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no chromium here: apt install chromium")

PROBE = """
const root = page.documentElement;
const text = (id) => page.getElementById(id)?.textContent ?? null;
const chart = page.getElementById("chart");
const traces = () => chart.data.map(({ name, x, y, customdata }) => ({ name, x, y, customdata }));
const look = () => ({
  traces: traces(),
  bars: page.querySelectorAll("#chart .xy3 g.trace.bars path").length,
  funding: text("funding"),
  open_interest: text("open-interest"),
  about: page.getElementById("daily")?.hidden ?? null,
  axes: Object.keys(chart.layout).filter((key) => key.startsWith("yaxis")),
  height: chart.getBoundingClientRect().height,
  names: (chart.layout.annotations ?? []).map((name) => name.text),
  overflow: Math.max(root.scrollWidth, page.body.scrollWidth) - root.clientWidth,
});
const seen = { drawn: [await drawn("BTC-PERPETUAL days")] };
seen.days = look();
seen.heading = text("prices");
const cards = [...page.querySelectorAll(".cards li")];
seen.cards = Object.fromEntries(cards.map((card) => [card.id.slice(5), card.className]));
page.querySelector('button[data-range="minutes"]').click();
seen.drawn.push(await drawn("BTC-PERPETUAL minutes"));
seen.minutes = look();
seen.range = chart.layout.xaxis.range;
const select = page.getElementById("instrument");
select.value = "1";
select.dispatchEvent(new frame.contentWindow.Event("change"));
seen.drawn.push(await drawn("ETH-PERPETUAL minutes"));
seen.other = look();
return seen;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """Two instruments with candles; one has funding without some hours, and settlements without a day."""
    create_tables(module_database)
    add_instrument(module_database, BTC, DAYS, WEEK, volume=1000)
    add_instrument(module_database, ETH, DAYS, WEEK, volume=500)
    add_funding(module_database, BTC, DAYS)
    add_funding_gap(module_database, "funding", "2025-12-20 05:00", "2025-12-20 08:00", "source")
    add_funding_gap(module_database, "funding", "2025-11-14 23:00", "2025-11-16 02:00", "known")
    add_funding_gap(module_database, "settlement", "2025-12-28 08:00", "2025-12-30 08:00", "unfetched")
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


def listed(path: Path) -> list[tuple[str, ...]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def trace(looked: dict, name: str) -> dict:
    [found] = [found for found in looked["traces"] if found["name"] == name]
    return found


def test_each_missing_hour_and_day_is_in_its_file(evidence, folder):
    assert listed(folder / "funding-gap-report.csv") == [
        (BTC, "2025-12-20T05:00:00Z", "2025-12-20T08:00:00Z", "2", "source", ""),
        (BTC, "2025-11-14T23:00:00Z", "2025-11-16T02:00:00Z", "26", "known", ""),
    ]
    assert listed(folder / "settlement-gap-report.csv") == [
        (BTC, "2025-12-28T08:00:00Z", "2025-12-30T08:00:00Z", "1", "unfetched", "")
    ]
    assert (evidence.counts["funding_gaps"], evidence.counts["settlement_gaps"]) == (2, 1)


def test_row_counts_have_a_line_for_the_instrument_that_has_funding(evidence, folder):
    said = (folder / "row-counts.txt").read_text().splitlines()
    at = next(number for number, line in enumerate(said) if line.startswith("funding   "))
    assert said[at + 1].split()[:2] == [BTC, f"{DAYS * 24 - 28:,}"]
    assert said[at + 1].split()[-2:] == [f"{DAYS * 24 - 26:,}", "99.9157"]
    assert said[at + 2] == ""


@needs_chromium
def test_a_day_of_funding_is_the_sum_of_the_hours_that_end_in_it(narrow, filled):
    hours = rows(
        filled, "select timestamp, interest_1h from perpetuals_funding where instrument = %s order by 1", BTC
    )
    days: dict[float, list[float]] = {}
    for ends_at, rate in hours:
        seconds = ends_at.timestamp() - 3600
        days.setdefault(seconds // 86400 * 86400 * 1000, []).append(rate)
    drawn = trace(narrow.answer["days"], "funding")
    assert drawn["x"] == list(days)
    assert len(days) == DAYS - 1, "of one day all hours are missing"
    for day, percent, year in zip(*(drawn[key] for key in ("x", "y", "customdata")), strict=True):
        assert percent == pytest.approx(100 * sum(days[day]), rel=1e-4)
        assert year == pytest.approx(100 * sum(days[day]) / len(days[day]) * 8760, rel=1e-4)
    assert narrow.answer["days"]["bars"] == DAYS - 1


@needs_chromium
def test_open_interest_is_that_of_the_settlement_and_breaks_where_a_day_is_missing(narrow, filled):
    held = rows(filled, "select open_interest from perpetuals_settlements order by settlement_day")
    drawn = trace(narrow.answer["days"], "open interest")["y"]
    assert [value is None for value in drawn[-4:]] == [False, True, False, False]
    assert [value for value in drawn if value is not None] == pytest.approx(
        [value for (value,) in held], rel=1e-4
    )
    said = narrow.answer["days"]["open_interest"]
    assert said.startswith("Open interest on 2025-12-31: ")
    assert " USD; low " in said


@needs_chromium
def test_the_panels_are_below_the_candles_and_named_on_a_phone(narrow):
    assert narrow.console == []
    seen = narrow.answer["days"]
    assert [found["name"] for found in seen["traces"]] == ["price", "volume", "funding", "open interest"]
    assert seen["axes"] == ["yaxis", "yaxis2", "yaxis3", "yaxis4"]
    assert seen["names"] == ["funding, % a day", "open interest, USD"]
    assert seen["overflow"] <= 0
    assert narrow.answer["heading"] == "Prices, volume, funding and open interest"
    states = {
        name: state for name, state in narrow.answer["cards"].items() if name in ("funding", "settlements")
    }
    assert states == {"funding": "look", "settlements": "bad"}


@needs_chromium
def test_a_shorter_range_shows_its_own_days(narrow):
    seen = narrow.answer["minutes"]
    assert len(trace(seen, "funding")["x"]) == 7
    assert seen["funding"].startswith("Funding of 7 days: ")
    assert " % a year. On 2025-12-31: " in seen["funding"]
    assert narrow.answer["range"] == [1_766_620_770_000, 1_767_225_570_000]  # half a minute on each side


@needs_chromium
def test_an_instrument_with_candles_alone_has_no_empty_chart(narrow):
    seen = narrow.answer["other"]
    assert [found["name"] for found in seen["traces"]] == ["price", "volume"]
    assert (seen["axes"], seen["names"]) == (["yaxis", "yaxis2"], [])
    assert (seen["funding"], seen["open_interest"], seen["about"]) == ("", "", True)
    assert seen["height"] < narrow.answer["minutes"]["height"] - 250


def test_a_database_with_candles_alone_does_not_name_funding(database, tmp_path):
    create_tables(database)
    add_instrument(database, BTC, 3, 1440)
    write_report(database, tmp_path)
    body = (tmp_path / "report.html").read_text().partition("<body>")[2]
    shown, _, data = body.partition('<script type="application/json"')
    assert "funding" not in shown.lower().replace("rounding", "")
    assert '"funding":' not in data.partition("</script>")[0]
    assert "unding" not in (tmp_path / "row-counts.txt").read_text()
    assert listed(tmp_path / "funding-gap-report.csv") == []


@needs_chromium
def test_a_page_with_candles_alone_draws_them(database, tmp_path):
    create_tables(database)
    add_instrument(database, BTC, 3, 1440)
    write_report(database, tmp_path)
    probe = 'await drawn("BTC-PERPETUAL days"); return page.getElementById("chart").data.length;'
    looked = look(tmp_path, probe)
    assert (looked.answer, looked.console) == (2, [])
