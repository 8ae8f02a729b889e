"""The files under docker/ fit each other: what a container engine and Grafana would read is read here."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from extract.cli.parser import build_parser
from extract.database.database import LIBPQ
from tests.support.grafana import GRAFANA, Shown, dashboards, filled, queries
from tests.support.perps import PROJECT

DOCKER = PROJECT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SHOWN = Shown(
    datetime(2025, 10, 1, tzinfo=UTC),
    datetime(2025, 10, 2, tzinfo=UTC),
    "30s",
    {"one": "a'b", "many": ["c", "d"]},
)
BOARDS = dashboards()
DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


def variables_of(text: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)", text))


def datasource() -> dict[str, Any]:
    """Return the one datasource that is provisioned."""
    text = (GRAFANA / "provisioning/datasources/timescaledb.yml").read_text()
    [source] = yaml.safe_load(text)["datasources"]
    return source


def test_every_image_from_elsewhere_is_pinned_to_a_whole_version():
    elsewhere = {service["image"] for service in SERVICES.values() if "build" not in service}
    dockerfile = (DOCKER / "Dockerfile").read_text()
    elsewhere |= set(re.findall(r"^FROM (\S+)", dockerfile, re.M))
    assert len(elsewhere) == 3
    for image in elsewhere:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?-?[\w.-]*", image), image


def test_nothing_listens_beyond_this_machine():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_every_password_comes_from_the_env_file_and_none_is_committed():
    text = (DOCKER / "compose.yml").read_text()
    passwords = {name for name in variables_of(text) if name.endswith("PASSWORD")}
    assert passwords == {"POSTGRES_PASSWORD", "PERPS_PASSWORD", "PERPS_READER_PASSWORD", "GRAFANA_PASSWORD"}
    for name in passwords:
        assert re.search(rf"\$\{{{name}:\?", text), f"{name} may not be empty"
    example = (DOCKER / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.M)) == passwords
    assert set(re.findall(r"^#(\w+)=", example, re.M)) == variables_of(text) - passwords
    assert "/docker/.env" in (PROJECT / ".gitignore").read_text().splitlines()


def test_what_a_container_mounts_or_copies_is_there():
    for service in SERVICES.values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            there = (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert there, source
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    assert {"extract", "dbt_project", "constraints.txt"} <= sources
    allowed = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in allowed


def test_the_pipeline_is_given_no_rights_and_only_variables_that_something_reads():
    service = SERVICES["perps"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert re.search(r"^USER \d+:\d+$", (DOCKER / "Dockerfile").read_text(), re.M)
    read = (PROJECT / "extract" / "settings.py").read_text() + str(LIBPQ)
    for name in service["environment"]:
        assert re.search(rf"\b{name}\b", read), name


def test_the_pipeline_is_started_as_the_command_line_allows_and_as_the_env_file_says():
    commands = [SERVICES["perps"]["command"], SERVICES["perps"]["healthcheck"]["test"][1:]]
    for command in commands:
        word, *typed = (DEFAULT.sub(r"\1", part) for part in command)
        assert word == "perps"
        assert build_parser(typed).parse_args(typed).run
    assert {"PERPS_EVERY", "PERPS_INSTRUMENTS"} <= variables_of(str(commands))


def test_the_image_starts_what_the_command_line_allows():
    [command] = re.findall(r"^CMD (.+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    word, *typed = json.loads(command)
    assert (word, build_parser(typed).parse_args(typed).every) == ("perps", "60s")


def test_grafana_reads_as_the_read_only_role_of_this_database():
    source = datasource()
    assert source["user"] == "perps_reader"
    assert source["secureJsonData"] == {"password": "$PERPS_READER_PASSWORD"}
    assert "PERPS_READER_PASSWORD" in SERVICES["grafana"]["environment"]
    assert source["url"] == "timescaledb:5432" and "timescaledb" in SERVICES
    assert source["jsonData"]["database"] == SERVICES["timescaledb"]["environment"]["POSTGRES_DB"]
    assert source["jsonData"]["timescaledb"] is True, (
        "time_bucket is what $__timeGroup stands for in these dashboards"
    )


def test_dashboards_are_provisioned_from_where_they_are_mounted():
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/perps.yml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(provider["options"]["path"] + "/").removesuffix(".json") in BOARDS


def test_every_panel_and_variable_asks_the_provisioned_datasource():
    source = datasource()
    asked = {"type": source["type"], "uid": source["uid"]}
    for board in BOARDS.values():
        for panel in board["panels"]:
            assert panel["datasource"] == asked
            assert [target["datasource"] for target in panel["targets"]] == [asked]
        for variable in board["templating"]["list"]:
            assert variable["type"] == "interval" or variable["datasource"] == asked
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 2


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_of_a_dashboard_is_used_and_every_one_used_is_there(name):
    board = BOARDS[name]
    known = {variable["name"] for variable in board["templating"]["list"]}
    used = set()
    for sql in queries(board).values():
        used |= set(re.findall(r"\$\{?([a-z]\w*)", sql))
    assert used == known


def test_a_query_is_filled_as_grafana_fills_it():
    sql = "select $__timeGroupAlias(at, '1h'), '$one' where $__timeFilter(at) and x in (${many:sqlstring})"
    assert filled(sql, SHOWN) == (
        "select time_bucket('3600.000s',at) AS \"time\", 'a''b' where at"
        " BETWEEN '2025-10-01T00:00:00.000000Z'"
        " AND '2025-10-02T00:00:00.000000Z' and x in ('c','d')"
    )
    assert (
        filled("$__timeGroup(at, $__interval) ${one:sqlstring}", SHOWN) == "time_bucket('30.000s',at) 'a''b'"
    )


@pytest.mark.parametrize(
    "sql",
    ["$other", "$many", "${one:csv}", "$__timeGroup(at)", "$__timeFilter(date(at))", "$__unknown(x)", "$1"],
)
def test_what_grafana_would_not_understand_is_refused(sql):
    with pytest.raises(ValueError, match="expected"):
        filled(sql, SHOWN)
