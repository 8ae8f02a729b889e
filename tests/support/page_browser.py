"""A headless Chromium that opens the report in a frame of a given width and says what a script found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--log-level=0", "--v=0"),
)
DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"

# a window of Chromium is never narrower than 500 pixels, a frame may be; both are of the same origin
WRAPPER = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" src="report.html" style="width:%(width)spx;height:%(height)spx;border:0"></iframe>
<pre id="answer"></pre>
<script>
const frame = document.getElementById("frame");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function drawn(what) {
  const root = frame.contentDocument.documentElement;
  for (let turn = 0; turn < 400 && root.dataset.chart !== what; turn++) await pause(50);
  await pause(100);
  return root.dataset.chart;
}
frame.addEventListener("load", async () => {
  const page = frame.contentDocument;
  let answer;
  try {
    answer = await (async () => { %(probe)s })();
  } catch (error) {
    answer = { failed: String(error) };
  }
  document.getElementById("answer").textContent = JSON.stringify(answer);
});
</script>
"""


@dataclass(frozen=True)
class Looked:
    """What a look at the page gave.

    Attributes:
        answer: what the probe returned, as JSON carries it.
        console: lines that the page wrote to the console, errors of loading and of scripts among them.
        requested: paths that were asked of the server.
    """

    answer: Any
    console: list[str]
    requested: list[str]


def chromium() -> str | None:
    """Return the program, None where there is none."""
    return shutil.which("chromium")


def look(
    folder: Path, probe: str, *, width: int = 1200, height: int = 900, flags: tuple[str, ...] = ()
) -> Looked:
    """Open report.html of `folder` in a frame and run `probe`, the body of an async function.

    Args:
        folder: holds report.html.
        probe: may use `page` (the report's document), `pause(ms)` and `drawn("NAME range")`, which waits
            until the chart shows that; returns what JSON can carry.
        width, height: of the frame in CSS pixels.
        flags: more for Chromium.
    """
    # a probe may name a script element; the one that it runs in must not end there
    wrapper = WRAPPER % {"width": width, "height": height, "probe": probe.replace("</", "<\\/")}
    with _served(folder, wrapper) as (address, requested):
        window = f"--window-size={max(width, 500)},{height}"
        said = _chromium(address, window, "--virtual-time-budget=60000", "--dump-dom", *flags)
    found = re.search(r'<pre id="answer">(.*?)</pre>', said.stdout, re.DOTALL)
    assert found and found.group(1), f"expected an answer of the page, got:\n{said.stderr[-3000:]}"
    answer = json.loads(html.unescape(found.group(1)))
    console = [line for line in said.stderr.splitlines() if "CONSOLE" in line]
    return Looked(answer, console, requested)


@contextmanager
def _served(folder: Path, wrapper: str) -> Iterator[tuple[str, list[str]]]:
    requested: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            if self.path != "/wrapper.html":
                return super().do_GET()
            body = wrapper.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/wrapper.html", requested
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _chromium(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = chromium()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="perps-chromium-", ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [program, *FLAGS, f"--user-data-dir={profile}", *arguments, address],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
