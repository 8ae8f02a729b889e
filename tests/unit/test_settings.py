from __future__ import annotations

import argparse
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
    given = read_settings(environment, flags(api_url="https://h/api", requests_per_second=7.5))
    assert (given.api_url, given.requests_per_second) == ("https://h/api", 7.5)


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "nan", "inf"])
def test_a_rate_that_is_no_positive_number_is_refused(rate):
    with pytest.raises(UsageError, match="above 0 in DERIBIT_REQUESTS_PER_SECOND"):
        read_settings({"DERIBIT_REQUESTS_PER_SECOND": rate})


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_so_is_a_flag(rate):
    with pytest.raises(UsageError, match="above 0"):
        read_settings({}, flags(requests_per_second=rate))


def refusal(url: str, **more: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_settings({"DERIBIT_API_URL": url, **more})
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://x", "javascript:alert(1)", "data:,x", "gopher://x", "deribit.com"),
        *("https://", "http:///api", "https:/x", "https://[::1/api", "https://:443/"),
        *("https://x:port/", "https://x:99999/", "https://x:0/", " https://x", "https://x/\n/api"),
        *("https://x/\t", "https://x/\x00", "https://x\\y", "https://x/a b", "https://dérìbit.com"),
    ],
)
def test_an_api_that_is_not_http_is_refused(url):
    assert "expected an http address" in refusal(url)
    assert "\n" not in refusal(url)


@pytest.mark.parametrize("url", ["http://ada:s3cret@127.0.0.1/api", "ada:s3cret@x", "https://x\n:s3cret@y"])
def test_an_api_address_with_a_password_is_refused_without_showing_it(url):
    assert "no user or password" in refusal(url)
    assert "s3cret" not in refusal(url)


@pytest.mark.parametrize("url", ["https://x/api?key=s3cret", "https://x/api#s3cret", "https://x/?"])
def test_an_api_address_with_more_than_a_path_is_refused_without_showing_it(url):
    assert "without ? and #" in refusal(url)
    assert "s3cret" not in refusal(url)


@pytest.mark.parametrize(
    "host",
    [
        *("www.deribit.com", "169.254.169.254", "2852039166", "0.0.0.0", "10.0.0.1", "[fe80::1]", "127.1"),
        *("localhost.example.com", "127.0.0.1.example.com", "[::ffff:10.0.0.1]"),
    ],
)
def test_http_without_tls_leaves_this_machine_only_when_told_so(host):
    url = f"http://{host}/api/v2"
    assert "expected https" in refusal(url)
    assert "expected https" in refusal(url, DERIBIT_ALLOW_HTTP="0")
    assert read_settings({"DERIBIT_API_URL": url, "DERIBIT_ALLOW_HTTP": "1"}).api_url == url


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"])
def test_http_to_this_machine_needs_no_telling(host):
    assert read_settings({"DERIBIT_API_URL": f"http://{host}/api/v2"}).api_url == f"http://{host}/api/v2"


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


def test_a_password_is_in_no_repr():
    assert "s3cret" not in repr(read_settings({"PGHOST": "db", "PGUSER": "a", "PGPASSWORD": "s3cret"}))
