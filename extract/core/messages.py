"""Text of others in messages and logs: one line, nothing that a terminal obeys, no password."""

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

    White space becomes single spaces; what does not print, such as an escape sequence or a mark that turns
    the direction of writing, is spelled out (`\\x1b`); passwords in addresses are left out.
    """
    return spelled_out(" ".join(mask(text).split()))


def spelled_out(text: str, keep: str = "\n\t") -> str:
    """Return a text with every character spelled out that does not print and is not to be kept."""
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()
        for sign in text
    )


def mask(text: str) -> str:
    """Return a text without the `user:password@` of addresses and the values of `password=`."""
    return _AS_KEYWORD.sub("***", _IN_ADDRESS.sub("", text))


class LineFormatter(logging.Formatter):
    """A line for each record, stamped in UTC; the lines of a failure follow it, indented.

    So nothing that came from outside looks like a record of its own.
    """

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the record as one line."""
        return one_line(super().formatMessage(record))

    def formatException(self, failure: Any) -> str:  # noqa: N802  # logging's name
        """Return the failure's lines, indented."""
        lines = super().formatException(failure)
        return textwrap.indent(spelled_out(mask(lines)), "    ")
