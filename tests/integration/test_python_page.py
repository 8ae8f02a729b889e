"""The script in docs/python.md does what the page says, with the wheel in a bare environment."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.docs import DOCS
from tests.support.perps import perps_environment

BLOCKS = re.compile(r"^```(python|text)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-01-31T01:00:30Z", requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture
def python(wheel: Path, tmp_path: Path) -> Path:
    """The interpreter of an environment that has the wheel and what it depends on, and no checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    # a path in a .pth file is no site folder: the checkout that is installed there in editable form is not
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return tmp_path / "venv" / "bin" / "python"


def test_the_script_of_the_page_prints_what_the_page_says(
    python: Path, exchange: RunningSimulator, database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    blocks = BLOCKS.findall((DOCS / "python.md").read_text(encoding="utf-8"))
    script, printed = (
        "".join(text for kind, text in blocks if kind == which) for which in ("python", "text")
    )
    home = {"HOME": str(tmp_path), "PERPS_HOME": str(tmp_path / "perps")}
    env = perps_environment(environment, database, exchange.base_url, home)
    env["DLT_DATA_DIR"] = str(tmp_path / "dlt")  # root's would be /var/dlt, and outlive this test
    del env["PYTHONPATH"]
    (tmp_path / "notebook.py").write_text(script)
    ran = subprocess.run(
        [python, "notebook.py"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    assert ran.stdout.splitlines() == printed.splitlines()
    where = subprocess.run(
        [python, "-c", "import extract; print(extract.__file__)"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert where.startswith(str(tmp_path))
