from __future__ import annotations

from pathlib import Path

import pytest

from extract.embedded.settings_file import MB, Machine, cgroup_limits, settings


def machine(megabytes: int, processors: int = 4, shared: int = 1024) -> Machine:
    return Machine(megabytes * MB, processors, shared * MB)


@pytest.mark.parametrize(
    ("megabytes", "buffers", "work"),
    [(512, "64MB", "4MB"), (1024, "128MB", "4MB"), (8192, "1024MB", "32MB"), (262144, "2048MB", "64MB")],
)
def test_memory_settings_follow_the_memory_within_bounds(megabytes: int, buffers: str, work: str) -> None:
    values = settings(5432, machine(megabytes))
    assert (values["shared_buffers"], values["work_mem"]) == (buffers, work)


def test_a_container_with_little_shared_memory_uses_files() -> None:
    assert settings(1, machine(4096, shared=64))["dynamic_shared_memory_type"] == "mmap"
    assert settings(1, machine(4096, shared=256))["dynamic_shared_memory_type"] == "posix"


def test_the_smallest_limit_of_a_group_and_its_parents_is_found(tmp_path: Path) -> None:
    groups, mine = tmp_path / "groups", tmp_path / "mine"
    (groups / "system.slice/perps.service").mkdir(parents=True)
    (groups / "system.slice/perps.service/memory.max").write_text("max\n")
    (groups / "system.slice/memory.max").write_text("2000\n")
    (groups / "memory.max").write_text("9000\n")
    mine.write_text("0::/system.slice/perps.service\n")
    assert min(cgroup_limits(groups, mine)) == 2000


def test_a_limit_of_the_first_control_group_version_is_found(tmp_path: Path) -> None:
    groups, mine = tmp_path / "groups", tmp_path / "mine"
    (groups / "memory/docker/1").mkdir(parents=True)
    (groups / "memory/docker/1/memory.limit_in_bytes").write_text("3000\n")
    mine.write_text("5:cpu:/docker/1\n4:memory:/docker/1\n")
    assert cgroup_limits(groups, mine) == [3000]


def test_a_host_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path / "absent", tmp_path / "absent too") == []
