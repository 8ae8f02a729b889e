"""What the Makefile hands to the programs that it starts, by `make --dry-run`."""

import os
import subprocess

import pytest

from tests.support.perps import PROJECT


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
    printed = subprocess.run(
        ["make", "--dry-run", *words],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},  # of neither a make around this one nor its variables
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert any(handed in line for line in printed.stdout.splitlines())
