"""A few thousand mutated replies; `make fuzz` runs as many as there is time for."""

from __future__ import annotations

import logging
import random

import pytest

from tests.fuzz.replies import Seed, check, mutate, seeds

CASES = 1500


@pytest.fixture(scope="module")
def known() -> list[Seed]:
    return seeds()


def test_sound_replies_are_charts(known):
    assert all(check(seed, seed.body) for seed in known)


def test_a_mutated_reply_is_read_as_pythons_json_reads_it_or_refused(known, caplog):
    caplog.set_level(logging.CRITICAL, "extract")
    rng, charts = random.Random(4), 0
    for _ in range(CASES):
        seed = rng.choice(known)
        charts += check(seed, mutate(rng, seed, known))
    assert 0 < charts < CASES  # the mutations leave some sound and break some
