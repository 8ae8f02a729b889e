"""One finding in one line, and checks that neither hang nor fail with anything but such a line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import psycopg2

from extract.core.messages import one_line
from extract.errors import PerpsError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
OK, LOOK, WRONG = "OK", "LOOK", "WRONG"
LIMIT_S = 5.0
"""Seconds that a check may take; a silent API and a silent database together stay below 15."""


class LookError(PerpsError):
    """Nothing is wrong, but what the check and those after it need is not there."""


class SilentError(PerpsError):
    """No answer in time."""


@dataclass(frozen=True)
class Line:
    """What a check found.

    Attributes:
        status: `OK`, `LOOK` (may be meant so) or `WRONG` (keeps the project from doing its work).
        subject: what was looked at, in a word or two.
        found: what is there.
        do: what to do about it; a message of another part of the project has it in `found` already.
        ends: whether the checks after it have nothing left to look at.
    """

    status: str
    subject: str
    found: str
    do: str = ""
    ends: bool = False

    def __str__(self) -> str:
        """Return the line as a person sees it."""
        advice = f"; {self.do}" if self.do else ""
        return f"{self.status:<7} {self.subject:<18} {one_line(self.found + advice)}"


def within(seconds: float, look: Callable[[], Result]) -> Result:
    """Return what a function returns, or raise what it raises.

    It runs in a thread that is left behind when it takes too long: nothing else ends a wait inside libpq, a
    resolver or a file system.

    Raises:
        SilentError: there was no answer within so many seconds.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(look())
        except BaseException as error:  # raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise SilentError(f"no answer within {seconds:.0f} s")
    return results[0]


def attempt(subject: str, look: Callable[[], Line], silent: str = "") -> Line:
    """Return a check's line, whatever happens to the check; `silent` is what to do when nobody answers it."""
    try:
        return within(LIMIT_S, look)
    except SilentError as error:
        return Line(WRONG, subject, str(error), silent, ends=True)
    except LookError as error:
        return Line(LOOK, subject, str(error), ends=True)
    except PerpsError as error:
        return Line(WRONG, subject, str(error), ends=True)
    except psycopg2.Error as error:
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Line(
            WRONG,
            subject,
            f"the database says: {error}",
            "check the rights of this role, and the server's log",
            ends=lost,
        )
    except Exception as error:
        log.exception("the check of %s failed", subject, extra={"shown": True})
        return Line(WRONG, subject, f"unexpected {type(error).__name__}: {error}", "see the log for details")


def in_turn(checks: Mapping[str, Callable[[], Line]], need: str, silent: str) -> Iterator[Line]:
    """Yield the lines of checks that stand on one thing; once it is gone, one line for all that are left.

    Args:
        checks: by subject.
        need: what they stand on, such as `database`.
        silent: what to do when it does not answer.
    """
    left = list(checks)
    for subject, look in checks.items():
        left.remove(subject)
        line = attempt(subject, look, silent)
        yield line
        if line.ends and left:
            yield Line(LOOK, f"no {need}", f"not looked at: {', '.join(left)}")
            return
