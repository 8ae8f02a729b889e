"""The network between `perps` and the database breaks while candles are streaming through it."""

from __future__ import annotations

import pytest

from tests.faults.flow import A_COPY_IS_UNDER_WAY, BACKFILL, BUILD, Flow, one_error
from tests.faults.proxy import Link, Proxy, proxied


def cut_the_lock(proxy: Proxy, _: Link) -> None:
    proxy.links[0].cut()


def cut_for_good(proxy: Proxy, _: Link) -> None:
    proxy.stop()


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ("connection of the run lock reset inside a copy", cut_the_lock),
        ("network gone inside a copy", cut_for_good),
    ],
)
def test_a_connection_lost_inside_a_copy_ends_the_run_with_one_line(flow: Flow, fault, act):
    with proxied(flow.database) as (proxy, through):
        proxy.once(A_COPY_IS_UNDER_WAY, lambda link: act(proxy, link))
        failed = flow.command(*BACKFILL, through=through)
        assert proxy.triggered
    assert "run the same command again" in one_error(failed)
    flow.recover("network", fault)


def test_a_copy_that_breaks_off_is_begun_again_by_the_same_run(flow: Flow):
    with proxied(flow.database) as (proxy, through):
        proxy.once(A_COPY_IS_UNDER_WAY, lambda link: link.cut())
        mended = flow.command(*BACKFILL, through=through)
        assert proxy.triggered
        assert mended.returncode == 0, mended.stderr
    flow.recover("network", "connection of the copy reset", BUILD)


def test_a_slow_network_only_takes_longer(flow: Flow):
    with proxied(flow.database) as (proxy, through):
        proxy.delay_s, proxy.piece = 0.002, 4096
        slow = flow.command(*BACKFILL, through=through)
        assert slow.returncode == 0, slow.stderr
    flow.recover("network", "every 4 kB 2 ms late", BUILD)
