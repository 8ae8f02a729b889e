"""The entry point: exit codes, logging, and errors as one line."""

from __future__ import annotations

import argparse
import io
import logging
import logging.handlers
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from typing import Any

from extract.cli.ending import INTERRUPTED, endable, exit_code
from extract.cli.parser import build_parser
from extract.core.messages import LineFormatter, one_line
from extract.embedded.files import make_folder
from extract.errors import PerpsError, interrupt_behind
from extract.load.own_settings import remove_foreign
from extract.settings import Settings, read_settings

log = logging.getLogger(__name__)

LOG_BYTES, LOG_FILES = 10_000_000, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `perps`; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    typed = sys.argv[1:] if arguments is None else arguments
    do_without_data_frames()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # keeps stdout and stderr in order in a file or a pipe
    try:
        with endable():  # importing a command takes seconds
            return int(carry_out(build_parser(typed).parse_args(typed)))
    except BrokenPipeError:
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error)


def carry_out(args: argparse.Namespace) -> Any:
    """Run a command and return its result; changes this process (environment, umask, logging).

    Raises:
        PerpsError: the command failed, or its settings are invalid.
        KeyboardInterrupt: a signal ended the command.
    """
    logging.getLogger("extract").addHandler(logging.NullHandler())  # or early errors would print twice
    remove_foreign(os.environ)
    os.umask(os.umask(0o077) | 0o022)  # no file is writable by others
    settings = read_settings(flags=args)
    start_logging(settings, verbose=args.verbose)
    return args.run(args, settings)


class NoDataFrames(MetaPathFinder):
    """Hides pandas and polars. No command uses them, but pyarrow and ADBC import them if they are installed.

    Importing pandas takes 0.2 s. polars installs its own SIGINT handler, which does not wake a waiting main
    thread. Setting them to None in `sys.modules` does not work: pyarrow takes the None for pandas.
    """

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise ModuleNotFoundError for the two."""
        if fullname in ("pandas", "polars"):
            raise ModuleNotFoundError(f"commands do without {fullname}", name=fullname)


def do_without_data_frames() -> None:
    """Hide pandas and polars from this process."""
    if not any(isinstance(finder, NoDataFrames) for finder in sys.meta_path):
        sys.meta_path.insert(0, NoDataFrames())


def _fail(error: BaseException) -> int:
    """Print in one line why a command failed, and return its exit code."""
    if interrupt := interrupt_behind(error):
        print(INTERRUPTED, file=sys.stderr)
        return exit_code(interrupt)
    if isinstance(error, PerpsError):
        log.error("%s", error, extra={"shown": True})
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    log.error("unexpected failure", exc_info=error, extra={"shown": True})
    print(f"error: {unexpected(error)}", file=sys.stderr)
    return 1


def unexpected(error: BaseException) -> str:
    """Return the message for an unexpected error."""
    return f"unexpected {type(error).__name__}: {one_line(str(error))[:300]}; see the log for details"


def start_logging(settings: Settings, *, verbose: bool = False) -> None:
    """Log to a rotating file (10 MB, 5 files); warnings and the embedded server's steps also go to stderr.

    Args:
        settings: has the folder for logs.
        verbose: whether to send all log messages to stderr.

    Raises:
        PerpsError: the folder for logs cannot be created or written.
    """
    # not by the caller's umask: the account that runs root's embedded server must be able to enter the folder
    make_folder(settings.home, 0o755, 0o755)
    try:
        settings.logs.mkdir(parents=True, exist_ok=True)
        file = LogFile(
            settings.logs / "perps.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError as error:
        raise PerpsError(
            f"could not write logs to {settings.logs}: {error.strerror}; "
            "set PERPS_HOME to a folder that can be written"
        ) from None
    stamped = "%(asctime)sZ %(levelname)s %(name)s %(message)s"
    file.setFormatter(LineFormatter(stamped, "%Y-%m-%dT%H:%M:%S"))
    screen = logging.StreamHandler()
    screen.setFormatter(LineFormatter())
    screen.addFilter(_not_shown_yet if verbose else _for_people)
    own = logging.getLogger("extract")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        with suppress(OSError):  # on a full disk, the last lines are lost
            handler.close()
    own.setLevel(logging.INFO)
    own.propagate = False
    own.addHandler(file)
    own.addHandler(screen)


class LogFile(logging.handlers.RotatingFileHandler):
    """A rotating log file; if it cannot be written, it prints one line on stderr and the command goes on."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  # named by logging
        """Print the first failure, without the traceback that logging would print for every failure."""
        if not self.failed:
            self.failed = True
            print(f"warning: could not write {self.baseFilename}: {sys.exc_info()[1]}", file=sys.stderr)


def _not_shown_yet(record: logging.LogRecord) -> bool:
    return not getattr(record, "shown", False)


def _for_people(record: logging.LogRecord) -> bool:
    if getattr(record, "shown", False) or record.exc_info:
        return False
    return record.levelno >= logging.WARNING or record.name.startswith("extract.embedded")


if __name__ == "__main__":
    sys.exit(main())
