"""Result lines of checks, and a runner that turns a failure or a hang of a check into such a line."""

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
"""Seconds that a check may take; even if neither the API nor the database responds, all take less than 15."""


class LookError(PerpsError):
    """Nothing is wrong, but this check and those after it need something that is absent."""


class SilentError(PerpsError):
    """A check did not finish in time."""


@dataclass(frozen=True)
class Line:
    """The result of a check.

    Attributes:
        status: `OK`, `LOOK` (may be intended) or `WRONG` (loads or builds cannot work).
        subject: what was checked, in one or two words.
        found: what was found.
        do: what to do about it; empty if there is nothing to do, or `found` includes it.
        ends: whether to skip the checks after it.
    """

    status: str
    subject: str
    found: str
    do: str = ""
    ends: bool = False

    def __str__(self) -> str:
        """Return the line to print."""
        advice = f"; {self.do}" if self.do else ""
        return f"{self.status:<7} {self.subject:<18} {one_line(self.found + advice)}"


def within(seconds: float, look: Callable[[], Result]) -> Result:
    """Return what a function returns, or raise what it raises.

    The function runs in a thread, which is abandoned if it takes too long: nothing else ends a wait inside
    libpq, a resolver or a file system.

    Raises:
        SilentError: the function did not finish in time.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(look())
        except BaseException as error:  # raised again in the waiting thread
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
    """Return a check's line, even if the check fails; `silent` is what to do if it takes too long."""
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
            f"the database reports: {error}",
            "check the privileges of this role, and the server's log",
            ends=lost,
        )
    except Exception as error:
        log.exception("the check of %s failed", subject, extra={"shown": True})
        return Line(WRONG, subject, f"unexpected {type(error).__name__}: {error}", "see the log for details")


def in_turn(checks: Mapping[str, Callable[[], Line]], need: str, silent: str) -> Iterator[Line]:
    """Yield the lines of checks that all need the same thing; if it is absent, one line for the rest of them.

    Args:
        checks: the checks by subject.
        need: what they need, such as `database`.
        silent: what to do if it does not respond.
    """
    left = list(checks)
    for subject, look in checks.items():
        left.remove(subject)
        line = attempt(subject, look, silent)
        yield line
        if line.ends and left:
            yield Line(LOOK, f"no {need}", f"not checked: {', '.join(left)}")
            return
