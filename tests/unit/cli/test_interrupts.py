"""A command that was told to end says so, whatever fails on its way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.cli import instruments
from extract.cli.ending import INTERRUPTED, TerminatedError
from extract.errors import PerpsError, interrupt_behind
from tests.support.people import run_here


@pytest.mark.parametrize(("told", "code"), [(KeyboardInterrupt, 130), (TerminatedError, 143)])
@pytest.mark.parametrize("failure", [FileNotFoundError, PerpsError])
def test_what_a_clean_up_fails_with_does_not_hide_the_signal(
    told: type[KeyboardInterrupt],
    code: int,
    failure: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def interrupted(*_: object) -> int:
        try:
            raise told
        finally:
            raise failure("of a library that tidies up")

    monkeypatch.setattr(instruments, "run", interrupted)
    said = run_here("instruments", env={"PERPS_HOME": str(tmp_path)})
    assert (said.returncode, said.stderr.splitlines()) == (code, [INTERRUPTED])


def test_an_error_of_its_own_is_no_interrupt() -> None:
    try:
        raise ValueError from OSError()
    except ValueError as error:
        assert interrupt_behind(error) is None
