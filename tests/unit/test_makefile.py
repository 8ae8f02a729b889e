"""What the Makefile hands to the programs that it starts, and who installs."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.perps import PROJECT, expect, run_program


@pytest.mark.parametrize(
    ("words", "handed"),
    [
        (["soak", "SEEDS=200"], "SEED= SEEDS=200 FROM= MINUTES= WORKERS= "),
        (["soak", "MINUTES=30", "WORKERS=2"], "SEED= SEEDS= FROM= MINUTES=30 WORKERS=2 "),
        (["fuzz"], "tests.fuzz 5"),
        (["fuzz", "MINUTES=30"], "tests.fuzz 30"),
    ],
)
def test_a_soak_of_seeds_has_no_time_limit_and_fuzzers_have_five_minutes(
    words: list[str], handed: str
) -> None:
    env = {"PATH": os.environ["PATH"]}  # of neither a make around this one nor its variables
    printed = expect(run_program(["make", "--dry-run", *words], env, PROJECT))
    assert any(handed in line for line in printed.splitlines())


BACKEND = """
from pathlib import Path
from zipfile import ZipFile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with ZipFile(Path(folder, "small-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\nProvides-Extra: dev\\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return "small-1-py3-none-any.whl"
"""  # noqa: E501
UV_WITHOUT_A_REGISTRY = """#!/bin/sh
[ "$1" != --version ] || exit 0
echo "error: request failed" >&2
echo "  cause: no registry" >&2
exit 2
"""
UV = """#!/bin/sh
mkdir -p .venv && echo "$@" >> .venv/uv
"""
PACKAGES = "installing 2 packages into .venv with"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with this one's Makefile that needs nothing of a registry."""
    for name in ("Makefile", "profiles.yml.example"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "constraints.txt").write_text("# one==1\n# two==2\n")
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return tmp_path


def installed(project: Path, uv: str) -> list[str]:
    """Install with such a program on the path; return what is said, without the seconds."""
    (project / "bin").mkdir()
    (project / "bin" / "uv").write_text(uv)
    (project / "bin" / "uv").chmod(0o755)
    path = f"{project / 'bin'}:{os.environ['PATH']}"
    env = {"PATH": path, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    made = expect(run_program(["make", "install"], env, project))
    return re.sub(r"\d+ s$", "n s", made, flags=re.M).splitlines()


def test_where_uv_finds_no_registry_pip_installs(small: Path) -> None:
    assert installed(small, UV_WITHOUT_A_REGISTRY) == [
        f"{PACKAGES} uv",
        "uv could not (cause: no registry)",
        f"{PACKAGES} pip, which takes a minute or more",
        "installed in n s",
    ]
    listed = expect(run_program([str(small / ".venv/bin/pip"), "list", "--format=freeze"], os.environ))
    assert "small==1" in listed.splitlines()


def test_where_there_is_uv_it_installs_with_the_same_constraints(small: Path) -> None:
    assert installed(small, UV) == [f"{PACKAGES} uv", "installed in n s"]
    said = (small / ".venv/uv").read_text().splitlines()
    listed, itself = (line.removeprefix("pip install --quiet --python .venv ") for line in said[-2:])
    assert listed == "--require-hashes --no-deps --requirement constraints.txt"
    assert itself == "--no-index --no-build-isolation --editable .[dev]"
    assert (small / "profiles.yml").is_file()
