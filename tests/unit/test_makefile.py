"""What the Makefile hands to the programs that it starts, by `make --dry-run`."""

import os

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
