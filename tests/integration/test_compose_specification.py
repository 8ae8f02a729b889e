"""The compose file, read by Docker Compose itself: Debian's package, which needs no engine for that."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from extract.embedded.apt import PrivateApt
from extract.embedded.errors import EmbedError
from extract.embedded.mirror import find_mirror
from tests.support.perps import PROJECT
from tests.unit.docker.test_docker_files import SERVICES, variables_of

pytestmark = pytest.mark.long  # fetches 16 MB

COMPOSE = PROJECT / "docker" / "compose.yml"


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's docker-compose, unpacked."""
    folder = tmp_path_factory.mktemp("compose")
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    )
    lock = os.open(folder, os.O_RDONLY)
    try:
        apt = PrivateApt(folder, architecture.stdout.strip(), find_mirror(), lock)
        apt.update()
        [package] = apt.download(["docker-compose"])
    except EmbedError as error:
        pytest.skip(f"no Docker Compose here: {error}")
    finally:
        os.close(lock)
    subprocess.run(["dpkg-deb", "--extract", package, folder / "root"], check=True)
    return folder / "root/usr/libexec/docker/cli-plugins/docker-compose"


def config(compose: Path, text: str, passwords: str) -> subprocess.CompletedProcess[str]:
    names = {name: passwords for name in variables_of(text) if name.endswith("PASSWORD")}
    command = [compose, "--project-directory", COMPOSE.parent, "--file", "-", "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], **names}
    return subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)


def test_it_is_what_the_specification_allows(compose):
    read = config(compose, COMPOSE.read_text(), "secret")
    assert read.returncode == 0, read.stderr
    services = json.loads(read.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    assert {port["host_ip"] for each in services.values() for port in each.get("ports", [])} == {"127.0.0.1"}
    assert Path(services["perps"]["build"]["context"]) == PROJECT


def test_it_asks_for_each_password(compose):
    refused = config(compose, COMPOSE.read_text(), "")
    assert refused.returncode != 0
    assert "is missing a value: write it into docker/.env" in refused.stderr


def test_a_key_that_the_specification_does_not_know_is_refused(compose):
    refused = config(compose, COMPOSE.read_text().replace("restart:", "restrat:", 1), "secret")
    assert "restrat" in refused.stderr
