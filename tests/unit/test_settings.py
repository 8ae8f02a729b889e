from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from extract.errors import UsageError
from extract.settings import DEFAULT_API_URL, read_settings


def flags(**given) -> argparse.Namespace:
    return argparse.Namespace(**given)


def test_without_anything_it_is_deribit_at_20_requests_a_second_and_the_embedded_server():
    settings = read_settings({"HOME": "/home/x"})
    assert (settings.api_url, settings.requests_per_second, settings.server) == (DEFAULT_API_URL, 20.0, None)


def test_flags_win_over_variables():
    environment = {"DERIBIT_API_URL": "http://127.0.0.1:1/api/v2/", "DERIBIT_REQUESTS_PER_SECOND": "3"}
    assert read_settings(environment).api_url == "http://127.0.0.1:1/api/v2"
    assert read_settings(environment).requests_per_second == 3
    given = read_settings(environment, flags(api_url="http://h/api", requests_per_second=7.5))
    assert (given.api_url, given.requests_per_second) == ("http://h/api", 7.5)


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "nan", "inf"])
def test_a_rate_that_is_no_positive_number_is_refused(rate):
    with pytest.raises(UsageError, match="above 0 in DERIBIT_REQUESTS_PER_SECOND"):
        read_settings({"DERIBIT_REQUESTS_PER_SECOND": rate})


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_so_is_a_flag(rate):
    with pytest.raises(UsageError, match="above 0"):
        read_settings({}, flags(requests_per_second=rate))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "deribit.com", "ftp://x"])
def test_an_api_that_is_not_http_is_refused(url):
    with pytest.raises(UsageError, match="expected an http address"):
        read_settings({"DERIBIT_API_URL": url})


def test_an_api_address_with_a_password_is_refused_without_showing_it():
    with pytest.raises(UsageError, match="no user or password") as caught:
        read_settings({"DERIBIT_API_URL": "http://ada:s3cret@127.0.0.1/api"})
    assert "s3cret" not in str(caught.value)


def test_a_socket_folder_is_refused():
    with pytest.raises(UsageError, match="got a socket folder"):
        read_settings({"PGHOST": "/var/run/postgresql"})


def test_an_ipv6_address_is_bracketed_in_the_url():
    assert read_settings({"PGHOST": "::1", "PGUSER": "a"}).server.url() == "postgresql://a@[::1]:5432/a"


def test_pghost_names_a_server_and_the_rest_has_libpqs_defaults():
    server = read_settings({"PGHOST": "db", "PGUSER": "ada"}).server
    assert (server.host, server.port, server.dbname, server.user) == ("db", 5432, "ada", "ada")


def test_a_port_that_is_none_is_refused():
    with pytest.raises(UsageError, match="PGPORT"):
        read_settings({"PGHOST": "db", "PGPORT": "http"})


def test_perps_home_and_cache_move_everything_that_is_kept():
    settings = read_settings({"PERPS_HOME": "/a", "PERPS_CACHE": "/b"})
    assert settings.server_data == Path("/a/server")
    assert (settings.pipelines, settings.logs, settings.cache) == (
        Path("/a/pipelines"),
        Path("/a/logs"),
        Path("/b"),
    )


def test_an_ordinary_user_keeps_everything_at_home(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings = read_settings({"HOME": "/home/ada"})
    assert settings.home == Path("/home/ada/.local/share/perps")
    assert settings.cache == Path("/home/ada/.cache/perps")


def test_a_password_is_in_no_repr():
    assert "s3cret" not in repr(read_settings({"PGHOST": "db", "PGUSER": "a", "PGPASSWORD": "s3cret"}))
