"""What Grafana makes of a dashboard's SQL: variables first, in the browser, then macros, in its datasource.

Written after Grafana's documentation of variables and of the PostgreSQL datasource's macros. A word with a
dollar sign that is neither is an error here, because Grafana would send it to the database as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).resolve().parents[2] / "docker" / "grafana"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}

# as in the datasource, arguments end at the first closing bracket: macros cannot be nested
_MACRO = re.compile(r"\$(__[a-zA-Z]+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::(\w+))?\}|(\w+)\b(?!\())")


@dataclass(frozen=True)
class Shown:
    """What a person looks at: a range of time, the width of a point on the screen, the variables' values."""

    start: datetime
    end: datetime
    interval: str
    variables: Mapping[str, str | Sequence[str]]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every provisioned dashboard by its file's name."""
    return {
        path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
    }


def queries(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Return the SQL of each panel by its title, and that of each query variable by its name."""
    panels = {panel["title"]: panel["targets"][0]["rawSql"] for panel in dashboard["panels"]}
    variables = {
        f"${variable['name']}": variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    }
    return panels | variables


def filled(sql: str, shown: Shown) -> str:
    """Return the SQL that Grafana sends.

    Raises:
        ValueError: a variable or macro that there is not, or one used as the datasource does not understand.
    """
    with_values = _VARIABLE.sub(lambda found: _value(found, shown), sql)
    sent = _MACRO.sub(lambda found: _macro(found[1], found[2], shown), with_values)
    if "$" in sent:
        raise ValueError(f"expected nothing left to fill in, got {sent[sent.index('$') :][:40]!r}")
    return sent


def _value(found: re.Match[str], shown: Shown) -> str:
    name, form = found[1] or found[3], found[2]
    if name == "__interval":
        return shown.interval
    if name not in shown.variables:
        raise ValueError(f"expected a variable of the dashboard, got ${name}")
    value = shown.variables[name]
    if form == "sqlstring":
        values = [value] if isinstance(value, str) else value
        return ",".join("'" + each.replace("'", "''") + "'" for each in values)
    if form or not isinstance(value, str):
        raise ValueError(f"expected one value of ${name}, or its values as sqlstring, got {form}")
    return value.replace("'", "''")


def _macro(name: str, listed: str, shown: Shown) -> str:
    if "(" in listed:
        raise ValueError(f"expected no brackets within ${name}, got {listed!r}")
    start, end = (f"'{time:%Y-%m-%dT%H:%M:%S.%f}Z'" for time in (shown.start, shown.end))
    match name, [each.strip() for each in listed.split(",")]:
        case "__timeFrom", [""]:
            return start
        case "__timeTo", [""]:
            return end
        case "__timeFilter", [column]:
            return f"{column} BETWEEN {start} AND {end}"
        case "__timeGroup", [column, width]:
            return f"time_bucket('{seconds(width.strip(chr(39))):.3f}s',{column})"
        case "__timeGroupAlias", [column, width]:
            return f'{_macro("__timeGroup", listed, shown)} AS "time"'
    raise ValueError(f"expected a macro of the datasource with its arguments, got ${name}({listed})")


def seconds(interval: str) -> int:
    """Return how long an interval of Grafana's is, such as 15m."""
    found = re.fullmatch(r"(\d+)([smhdwy])", interval)
    if not found:
        raise ValueError(f"expected an interval such as 15m, got {interval!r}")
    return int(found[1]) * SECONDS[found[2]]
