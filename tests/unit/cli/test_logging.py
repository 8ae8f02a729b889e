"""The log file rotates, keeps UTC, and does not repeat on the screen what a person was told already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.cli import main as cli
from extract.errors import PerpsError
from extract.settings import read_settings
from tests.support.people import silence


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    yield
    silence()


def test_the_log_is_kept_in_five_files_of_bounded_size(tmp_path, monkeypatch):
    assert (cli.LOG_BYTES, cli.LOG_FILES) == (10_000_000, 5)
    monkeypatch.setattr(cli, "LOG_BYTES", 2_000)
    cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    for number in range(400):
        logging.getLogger("extract.test").info("line %d", number)
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["perps.log", *(f"perps.log.{n}" for n in range(1, 5))]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert "line 399" in (tmp_path / "logs/perps.log").read_text()


def test_lines_are_stamped_in_utc(tmp_path, monkeypatch):
    cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    record = logging.LogRecord("extract", logging.INFO, "", 0, "now", None, None)
    record.created = 1_704_067_200.0
    logging.getLogger("extract").handle(record)
    assert (tmp_path / "logs/perps.log").read_text() == "2024-01-01T00:00:00Z INFO extract now\n"


FORGED = "\n2024-01-01T00:00:00Z INFO extract all is well"


def test_text_from_outside_does_not_look_like_a_line_of_the_log(tmp_path):
    cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    own = logging.getLogger("extract.test")
    own.info("deribit answered %s", f"\x1b[2J\u202e{FORGED}")
    try:
        raise ValueError(f"copy failed:{FORGED}\x1b[2J")
    except ValueError:
        own.exception("could not load")
    text = (tmp_path / "logs/perps.log").read_text()
    assert not set("\x1b\u202e") & set(text)
    first, second, *failure = text.splitlines()
    assert first.endswith(r"\x1b[2J\u202e 2024-01-01T00:00:00Z INFO extract all is well")
    assert second.endswith("could not load")
    assert all(line.startswith("    ") for line in failure)


def test_passwords_of_addresses_are_not_in_the_log(tmp_path, capsys):
    cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    own = logging.getLogger("extract.test")
    own.warning(
        "cannot reach postgresql://ada:s3cret%%2F@db/perps with password='s3\\' cret' or password=s3cret"
    )
    try:
        raise ValueError("postgresql://ada:s3cret@db/perps")
    except ValueError:
        own.exception("could not load")
    shown = (tmp_path / "logs/perps.log").read_text() + capsys.readouterr().err
    assert "cannot reach postgresql://db/perps" in shown
    assert "cret" not in shown


def test_starting_twice_does_not_write_twice(tmp_path):
    for _ in range(2):
        cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    logging.getLogger("extract").info("once")
    assert (tmp_path / "logs/perps.log").read_text().count("once") == 1


def test_warnings_are_shown_and_errors_that_were_told_are_not(tmp_path, capsys):
    cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path)}))
    own = logging.getLogger("extract.test")
    own.warning("slowing down")
    own.info("asking again")
    own.error("told", extra={"shown": True})
    assert capsys.readouterr().err == "slowing down\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    Path(tmp_path, "file").write_text("")
    with pytest.raises(PerpsError, match=r"expected to write logs to .*/file/logs.*set PERPS_HOME"):
        cli.start_logging(read_settings({"PERPS_HOME": str(tmp_path / "file")}))
