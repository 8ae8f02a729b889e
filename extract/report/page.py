"""report.html: one file that needs nothing but a browser.

The page's content security policy allows only its two scripts, by their hashes, and forbids loading anything.
So the page sends nothing anywhere, and no script inside an instrument's name can run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from extract.report.cards import make_cards
from extract.report.daily import DAILY
from extract.report.facts import BESIDE_CANDLES, Facts
from extract.report.findings import Found
from extract.report.packing import compact
from extract.report.series import Series
from extract.report.tables import shown_listings, time_text

TEMPLATE = Path(__file__).parent / "template"
SCRIPTS = ("calendar.js", "daily.js", "chart.js", "main.js")


def render_page(facts: Facts, found: Mapping[str, Found], series: Series) -> str:
    """Return the page as HTML.

    Args:
        facts: facts about the database as a whole.
        found: findings by the kind's name.
        series: calendars, candles, and funding and open interest by day.
    """
    plotly, own = _plotly(), "\n".join(_read(name) for name in SCRIPTS)
    data = {"ranges": series.ranges, "instruments": list(series.instruments.values())}
    absent = {kind.gaps for name, kind in BESIDE_CANDLES.items() if not facts.covered_by(name)}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(time=time_text, megabytes=lambda size: f"{float(size or 0) / 1e6:,.1f}")
    return environment.get_template("report.html").render(
        facts=facts,
        cards=make_cards(facts, found),
        lists=shown_listings(found, bool(facts.reconciled), absent),
        series=series,
        left_out=left_out_lines(series),
        policy=content_policy(plotly, own),
        css=Markup(_read("report.css")),  # noqa: S704  # only files of this package and escaped JSON
        data=Markup(compact(data)),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
        own=Markup(own),  # noqa: S704
    )


def content_policy(*scripts: str) -> str:
    """Return a policy that allows only these scripts and forbids loading anything."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def left_out_lines(series: Series) -> list[str]:
    """Return sentences about the parts that are not embedded."""
    labels: dict[str, Any] = {"calendar": "the calendar", **series.ranges, **DAILY}
    lines = []
    for part, names in series.left_out.items():
        total = sum(part in embedded for embedded in series.instruments.values()) + len(names)
        whose = "every instrument" if len(names) == total else f"the {len(names)} least traded of {total}"
        lines.append(f"{labels[part]}: omitted for {whose}, to keep this page small.")
    return lines


def _read(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  # a slow import that only the report needs

    # a browser normalizes line ends before it hashes a script
    script: str = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    return script
