"""`perps` typed by somebody, in this process: what it said, and that it said it in one harmless line."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from unittest.mock import patch

from extract.cli import main as cli
from tests.support.perps import FOREIGN, Result, error_line


def run_here(*arguments: str, env: Mapping[str, str]) -> Result:
    """Run a command with these variables and without this machine's settings; `env` names PERPS_HOME."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, {**kept, **env}, clear=True), redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(list(arguments))
        except SystemExit as ended:  # what argparse refuses
            code = int(ended.code or 0)
        finally:
            silence()
    return Result(["perps", *arguments], code, out.getvalue(), err.getvalue())


def harmless_error(said: Result, code: int = 1) -> str:
    """Return the one line that names what is wrong; nothing that was said can do something to a terminal."""
    assert all(line.isprintable() for line in said.stderr.splitlines()), ascii(said.stderr)
    return error_line(said, code)


def silence() -> None:
    """Take back what starting to log has changed."""
    own = logging.getLogger("extract")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        with suppress(OSError):  # what a full disk did not take is lost
            handler.close()
    own.propagate = True
