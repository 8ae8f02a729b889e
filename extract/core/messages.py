"""Makes foreign text safe for messages and logs: one line, no control characters, no passwords."""

from __future__ import annotations

import logging
import re
import textwrap
import time
from typing import Any

_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_AS_KEYWORD = re.compile(r"(?i)(?<=password=)('(?:\\.|[^'\\])*'|[^\s'\"]+)")


def one_line(text: str) -> str:
    """Return a text as one line.

    White space becomes single spaces. Characters that do not print, such as escape sequences and marks that
    change the direction of writing, are spelled out (`\\x1b`). Passwords in addresses are left out.
    """
    return spelled_out(" ".join(mask(text).split()))


def spelled_out(text: str, keep: str = "\n\t") -> str:
    """Return a text in which every character that does not print, except those in `keep`, is spelled out."""
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()
        for sign in text
    )


def mask(text: str) -> str:
    """Return a text without the `user:password@` of addresses and the values of `password=`."""
    return _AS_KEYWORD.sub("***", _IN_ADDRESS.sub("", text))


class LineFormatter(logging.Formatter):
    """Formats each record as one line with a UTC time; the lines of a traceback follow, indented.

    So foreign text cannot look like a record of its own.
    """

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the record as one line."""
        return one_line(super().formatMessage(record))

    def formatException(self, failure: Any) -> str:  # noqa: N802  # logging's name
        """Return the traceback, indented."""
        lines = super().formatException(failure)
        return textwrap.indent(spelled_out(mask(lines)), "    ")
