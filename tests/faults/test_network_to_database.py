"""The network between `perps` and the database breaks while candles are streaming through it."""

from __future__ import annotations

import pytest

from extract.database import raw_tables
from extract.database.database import PATIENCE
from tests.support.flow import A_COPY_IS_UNDER_WAY, BACKFILL, BUILD, Flow
from tests.support.perps import error_line
from tests.support.proxy import Link, Proxy, proxied
from tests.support.truth import rows
from tests.support.waiting import wait_until


def cut_the_lock(flow: Flow, proxy: Proxy) -> None:
    """Reset the connection of the session that holds the run lock, and no other."""
    holder = "select client_port from pg_stat_activity join pg_locks using (pid) where locktype = 'advisory'"
    ports = [port for (port,) in rows(flow.database, holder)]
    (link,) = (link for link in proxy.links if link.server.getsockname()[1] in ports)
    link.cut()


def cut_for_good(_: Flow, proxy: Proxy) -> None:
    proxy.stop()


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ("connection of the run lock reset inside a copy", cut_the_lock),
        pytest.param("network gone inside a copy", cut_for_good, marks=pytest.mark.long),
    ],
)
def test_a_connection_lost_inside_a_copy_ends_the_run_with_one_line(flow: Flow, fault, act):
    with proxied(flow.database) as (proxy, through):
        proxy.once(A_COPY_IS_UNDER_WAY, lambda _: act(flow, proxy))
        failed = flow.command(*BACKFILL, through=through)
        assert proxy.triggered
    assert "run the same command again" in error_line(failed)
    flow.recover("network", fault)


def test_the_lock_is_looked_at_before_a_package_lands(flow: Flow, monkeypatch):
    def lose(opened) -> bool:
        made = prepare(opened)
        pid = opened.info.backend_pid
        assert rows(flow.database, "select pg_terminate_backend(%s, 10000)", pid) == [(True,)]
        return made

    prepare = raw_tables.prepare
    monkeypatch.setattr(raw_tables, "prepare", lose)
    error_line(flow.command(*BACKFILL))
    monkeypatch.undo()
    assert rows(flow.database, "select count(*) from deribit_raw.candles") == [(0,)]
    flow.recover("server", "session of the run lock ended before a copy")


def test_a_copy_that_breaks_off_is_begun_again_by_the_same_run(flow: Flow):
    with flow.inside_a_copy(Link.cut) as through:
        mended = flow.command(*BACKFILL, through=through)
    assert mended.returncode == 0, mended.stderr
    flow.recover("network", "connection of the copy reset", BUILD)


IMPATIENT = "from extract.database import watchdog; watchdog.EVERY_S, watchdog.PATIENCE_S = 0.2, 1.0"


def test_a_network_that_takes_everything_and_answers_nothing_ends_the_run(flow: Flow):
    with proxied(flow.database) as (proxy, through):
        proxy.once(A_COPY_IS_UNDER_WAY, lambda _: proxy.swallow())
        silent = flow.spawn(*BACKFILL, code=IMPATIENT, **through.env())
        assert proxy.triggered
        assert "to answer, got nothing for 1 s" in error_line(silent)

        # the server cannot know yet that nobody is behind the lock: whom to end is named
        refused = error_line(flow.command(*BACKFILL))
        (holder,) = rows(flow.database, "select pid from pg_locks where locktype = 'advisory'")[0]
        assert f"(session {holder} from 127.0.0.1)" in refused
    free = "select count(*) from pg_locks where locktype = 'advisory'"
    wait_until(lambda: rows(flow.database, free) == [(0,)], "a lock that is let go")
    flow.recover("network", "everything swallowed from inside a copy on")


@pytest.mark.long
def test_a_copy_that_the_network_takes_no_more_of_is_begun_again(flow: Flow, monkeypatch):
    def stall(link: Link) -> None:
        link.stalled = True

    monkeypatch.setitem(PATIENCE, "tcp_user_timeout", 1000)
    with proxied(flow.database) as (proxy, through):
        # so that the copy does not fit into what the two kernels keep
        proxy.buffer = 65536
        proxy.once(A_COPY_IS_UNDER_WAY, stall)
        mended = flow.command(*BACKFILL, through=through)
        assert proxy.triggered
    assert mended.returncode == 0, mended.stderr
    flow.recover("network", "connection of the copy stalled", BUILD)


@pytest.mark.long
def test_a_slow_network_only_takes_longer(flow: Flow):
    with proxied(flow.database) as (proxy, through):
        proxy.delay_s, proxy.piece = 0.002, 4096
        slow = flow.command(*BACKFILL, through=through)
    assert slow.returncode == 0, slow.stderr
    assert max(link.sent for link in proxy.links) > A_COPY_IS_UNDER_WAY
    flow.recover("network", "every 4 kB 2 ms late", BUILD)
