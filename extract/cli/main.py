"""The command line: exit codes, logging, and one line when something is wrong."""

from __future__ import annotations

import argparse
import io
import logging
import logging.handlers
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, cast

from extract.cli.ending import SAID, endable, exit_code
from extract.cli.parser import build_parser
from extract.core.messages import LineFormatter, one_line
from extract.embedded.files import make_folder
from extract.errors import PerpsError, interrupt_behind
from extract.load.own_settings import shut_out
from extract.settings import Settings, read_settings

log = logging.getLogger(__name__)

LOG_BYTES, LOG_FILES = 10_000_000, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `perps`; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    typed = sys.argv[1:] if arguments is None else arguments
    args = build_parser(typed).parse_args(typed)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # keeps its order with stderr in a file or a pipe
    try:
        return int(carry_out(args))
    except BrokenPipeError:
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error)


def carry_out(args: argparse.Namespace) -> Any:
    """Return what `args.run` returns, in a process that is all this command's.

    Raises:
        PerpsError: it failed, or its settings cannot be used.
        KeyboardInterrupt: a signal ended it.
    """
    logging.getLogger("extract").addHandler(logging.NullHandler())  # or errors before the log come twice
    shut_out(os.environ)
    _do_without_polars()
    os.umask(os.umask(0o077) | 0o022)  # whatever is made, others may not write it
    with endable():
        settings = read_settings(flags=args)
        start_logging(settings, verbose=args.verbose)
        return args.run(args, settings)


def _do_without_polars() -> None:
    """Hide what no command uses, but ADBC imports where it is installed.

    It puts a handler of its own before Python's, with which SIGINT wakes no main thread which waits.
    """
    sys.modules.setdefault("polars", cast("ModuleType", None))


def _fail(error: BaseException) -> int:
    """Say in one line why a command ended, and return its exit code."""
    if told := interrupt_behind(error):
        print(SAID, file=sys.stderr)
        return exit_code(told)
    if isinstance(error, PerpsError):
        log.error("%s", error, extra={"shown": True})
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    log.error("unexpected failure", exc_info=error, extra={"shown": True})
    reason = one_line(str(error))[:300]
    print(f"error: unexpected {type(error).__name__}: {reason}; the log has the rest", file=sys.stderr)
    return 1


def start_logging(settings: Settings, *, verbose: bool = False) -> None:
    """Log everything to a rotating file (10 MB, 5 files); warnings and the server's long steps to stderr.

    Args:
        settings: name the folder.
        verbose: whether all of it goes to stderr.

    Raises:
        PerpsError: the folder for logs cannot be made or written.
    """
    # closed by the caller's umask, it would keep out the account that root's embedded server runs as
    make_folder(settings.home, 0o755, 0o755)
    try:
        settings.logs.mkdir(parents=True, exist_ok=True)
        file = LogFile(
            settings.logs / "perps.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError as error:
        raise PerpsError(
            f"expected to write logs to {settings.logs}, got {error.strerror}; set PERPS_HOME"
        ) from None
    stamped = "%(asctime)sZ %(levelname)s %(name)s %(message)s"
    file.setFormatter(LineFormatter(stamped, "%Y-%m-%dT%H:%M:%S"))
    screen = logging.StreamHandler()
    screen.setFormatter(LineFormatter())
    screen.addFilter(_not_said if verbose else _for_people)
    own = logging.getLogger("extract")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        with suppress(OSError):  # what a full disk did not take is lost
            handler.close()
    own.setLevel(logging.INFO)
    own.propagate = False
    own.addHandler(file)
    own.addHandler(screen)


class LogFile(logging.handlers.RotatingFileHandler):
    """A rotating log whose own failure, such as a full disk, is one line on stderr and stops nothing."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  # named by logging
        """Say the first failure, without the traceback that logging would print for each."""
        if not self.failed:
            self.failed = True
            print(f"warning: could not write {self.baseFilename}: {sys.exc_info()[1]}", file=sys.stderr)


def _not_said(record: logging.LogRecord) -> bool:
    return not getattr(record, "shown", False)


def _for_people(record: logging.LogRecord) -> bool:
    if getattr(record, "shown", False) or record.exc_info:
        return False
    return record.levelno >= logging.WARNING or record.name.startswith("extract.embedded")


if __name__ == "__main__":
    sys.exit(main())
