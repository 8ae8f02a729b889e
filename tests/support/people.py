"""`perps` typed by somebody, in this process: what it said, and that it said it in one harmless line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from extract.cli import main as cli
from tests.support.perps import FOREIGN


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the one line that names what is wrong."""
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, self.err
        assert all(line.isprintable() for line in self.err.splitlines()), ascii(self.err)
        assert "Traceback" not in self.err
        return errors[0]


Typed = Callable[..., Said]


def make_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path) -> Typed:
    """Return `typed(*arguments, env=...)`, with PERPS_HOME and without this machine's settings."""

    def typed(*arguments: str, env: Mapping[str, str] | None = None) -> Said:
        with monkeypatch.context() as shell:
            for name in FOREIGN:
                shell.delenv(name, raising=False)
            for name, value in {"PERPS_HOME": str(home), **(env or {})}.items():
                shell.setenv(name, value)
            capsys.readouterr()
            try:
                code = cli.main(list(arguments))
            except SystemExit as ended:  # what argparse refuses
                code = int(ended.code or 0)
            finally:
                _silence()
            printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return typed


def _silence() -> None:
    own = logging.getLogger("extract")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        handler.close()
    own.propagate = True
