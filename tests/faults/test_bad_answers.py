"""Bad answers of the API: asked again, quarantined or named; never silent, and mended once they end."""

from __future__ import annotations

import re
import urllib.request

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.faults.answers import DURING, EXCHANGE, HEALTHY, INSTRUMENTS, Played, hit, play  # noqa: F401
from tests.support.bad_answers import ANSWERS, FAILED, QUARANTINED, BadAnswer
from tests.support.dbt_project import parsed_once
from tests.support.exchange import set_faults
from tests.support.ledger import Injected, judge, record


def named(bad: BadAnswer) -> str:
    return bad.name.replace(" ", "-")


every = pytest.mark.parametrize("bad", ANSWERS, ids=named)
WINDOW = 360
TOGETHER = 3  # a command a class takes minutes: python -m tests.faults.answers


@pytest.fixture(scope="module")
def played(
    exchange: RunningSimulator, module_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Played:
    dbt = parsed_once(module_database, tmp_path_factory)
    return play(exchange, dbt, tmp_path_factory.mktemp("answers"), TOGETHER)


def test_a_bad_answer_or_two_are_asked_again_unless_asking_cannot_help(played):
    assert played.hit_in_passing == set(INSTRUMENTS.values())
    assert played.failed_at_once == {INSTRUMENTS[bad.name] for bad in ANSWERS if bad.final}


@pytest.mark.parametrize("bad", [bad for bad in ANSWERS if bad.lasting != FAILED], ids=named)
def test_an_answer_that_fails_nothing_is_really_another(bad: BadAnswer, exchange: RunningSimulator):
    query = f"instrument_name={INSTRUMENTS[bad.name]}&resolution=1"
    query += f"&start_timestamp={DURING[0]}&end_timestamp={DURING[1] - 1}"

    def answer(*faults: dict) -> bytes:
        set_faults(exchange, *faults)
        with urllib.request.urlopen(f"{exchange.base_url}/public/get_tradingview_chart_data?{query}") as told:
            return re.sub(rb'"us\w+":\d{1,16}(?=[,}])', b"", told.read())

    sound = {answer(), answer()}  # the order of members alternates
    assert answer() in sound
    assert answer(hit(bad, DURING)) not in sound


@every
def test_a_person_sees_one_clean_line_and_the_exit_code(bad: BadAnswer, played):
    seen = played.seen[bad.name]
    assert seen.code == (1 if bad.lasting == FAILED else 0), seen.stderr
    if bad.lasting == FAILED:
        assert f"{INSTRUMENTS[bad.name]} 2025-07-01T06:00Z..2025-07-01T12:00Z: " in seen.line
        assert bad.says in seen.line
        assert seen.line.endswith("the others are saved, run the same command again")
        assert len(seen.line) < 600 * TOGETHER
    assert all(sign.isprintable() for sign in seen.stderr.replace("\n", ""))
    assert "Traceback" not in seen.stderr
    assert "s3cret" not in seen.stderr


@every
def test_the_other_instrument_is_saved(bad: BadAnswer, played):
    assert played.seen[bad.name].other == (WINDOW, WINDOW), HEALTHY


@every
def test_what_is_missing_shows_as_a_gap_and_nothing_else_is(bad: BadAnswer, played):
    name = INSTRUMENTS[bad.name]
    held, true = played.held[name], played.true[name]
    lost, invented = judge(held, true)
    assert invented == 0
    missing = set(true) - set(held)
    during = {row for row in missing if DURING[0] <= row[0] < DURING[1]}
    expected = {FAILED: WINDOW, QUARANTINED: bad.missing}.get(bad.lasting, 0)
    assert len(during) == expected
    assert played.gaps.get(name, 0) == lost


@every
def test_once_it_ends_an_update_and_a_repair_bring_everything(bad: BadAnswer, played):
    name = INSTRUMENTS[bad.name]
    assert played.recovered[name], "nothing to compare"
    lost, invented = judge(played.recovered[name], played.true[name])
    record(Injected("api", bad.name, lost, invented, played.recovery_s))
