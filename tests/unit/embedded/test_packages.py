from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from extract.embedded import packages as packages_module
from extract.embedded.apt import KEYS, configuration, needed
from extract.embedded.packages import (
    Packages,
    check_host,
    foreign_libraries,
    prune,
    tree_versions,
    use_relative_zones,
    wrapper,
)
from extract.embedded.programs import Account, mask_secrets, telling_line
from extract.errors import PerpsError

DEPENDS = """\
postgresql-17
  Depends: libpq5
  Depends: locales
 |Depends: libllvm19
  PreDepends: tzdata
  Depends: <debconf-2.0>
    cdebconf
libpq5
  Depends: libssl3t64
libssl3t64
  Depends: zlib1g
  Depends: libpq5
locales
  Depends: libc-bin
"""


def complete_tree(cache: Path, root: Path | None = None) -> Path:
    tree = cache / "timescaledb-17"
    tree.mkdir(parents=True)
    versions = {"postgres": "17.12", "timescaledb": "2.19.3", "edition": "apache"}
    (tree / "manifest.json").write_text(json.dumps({"root": str(root or tree), "versions": versions}))
    return tree


def test_libraries_are_followed_through_libraries_and_nothing_else_is() -> None:
    assert needed(["postgresql-17"], DEPENDS) == ["postgresql-17", "libpq5", "tzdata", "libssl3t64", "zlib1g"]


def test_apts_state_lies_in_the_private_folder_and_unsigned_indexes_stay_forbidden(tmp_path: Path) -> None:
    lines = configuration(tmp_path, "arm64").splitlines()
    for key in ("Dir::Etc", "Dir::State", "Dir::Cache"):
        assert f'{key} "{tmp_path}";' in lines
    assert 'APT::Architecture "arm64";' in lines
    assert 'Acquire::AllowInsecureRepositories "false";' in lines
    assert 'APT::Get::AllowUnauthenticated "false";' in lines
    assert "#clear APT::Update;" in lines


def test_the_shipped_keys_are_binary_openpgp_keys() -> None:
    content = KEYS.read_bytes()
    assert content[0] & 0x80  # an OpenPGP packet, not an ASCII armour
    assert len(content) > 10_000


def test_a_wrapper_starts_its_program_with_the_trees_loader_and_passes_arguments_on(tmp_path: Path) -> None:
    root = tmp_path / "it's a cache"
    versioned = root / "usr/lib/postgresql/17"
    for folder in ("bin", "ld", "elf"):
        (versioned / folder).mkdir(parents=True)
    loader = versioned / "ld/psql"
    loader.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    script = versioned / "bin/psql"
    script.write_text(wrapper(script, root / "usr/lib/x86_64-linux-gnu"))
    for file in (loader, script):
        file.chmod(0o755)
    done = subprocess.run([script, "-c", "select 'a b'"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "--inhibit-cache",
        "--library-path",
        str(root / "usr/lib/x86_64-linux-gnu"),
        "--argv0",
        str(script),
        str(versioned / "elf/psql"),
        "-c",
        "select 'a b'",
    ]


def test_a_library_of_the_host_or_a_missing_one_is_told_apart_from_the_trees_own() -> None:
    printed = (
        "\tlinux-vdso.so.1 (0x00007ffc)\n"
        "\tlibz.so.1 => /cache/tree/usr/lib/libz.so.1 (0x1)\n"
        "\tlibxxhash.so.0 => /usr/lib/libxxhash.so.0 (0x2)\n"
        "\tlibc.so.6 => /cache/tree-old/usr/lib/libc.so.6 (0x3)\n"
        "\tlibicu.so.76 => not found\n"
    )
    names = [line.split()[0] for line in foreign_libraries(printed, Path("/cache/tree"))]
    assert names == ["libxxhash.so.0", "libc.so.6", "libicu.so.76"]


def test_pruning_deletes_the_jit_and_the_dangling_zone_and_keeps_the_rest(tmp_path: Path) -> None:
    library, zones = tmp_path / "usr/lib/postgresql/17/lib", tmp_path / "usr/share/zoneinfo"
    for folder in (library / "bitcode/postgres", zones):
        folder.mkdir(parents=True)
    for file in (library / "llvmjit.so", library / "plpgsql.so", zones / "UTC"):
        file.touch()
    (zones / "localtime").symlink_to("/etc/absent")
    prune(tmp_path)
    assert sorted(path.name for path in library.iterdir()) == ["plpgsql.so"]
    assert [path.name for path in zones.iterdir()] == ["UTC"]


def test_the_zone_folder_becomes_relative_without_moving_a_byte(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.write_bytes(b"before\0/usr/share/zoneinfo\0after")
    use_relative_zones(program)
    assert program.read_bytes() == b"before\0zoneinfo" + b"\0" * 12 + b"after"


def test_versions_come_from_the_package_name_and_the_control_file(tmp_path: Path) -> None:
    folder = tmp_path / "usr/share/postgresql/17/extension"
    folder.mkdir(parents=True)
    (folder / "timescaledb.control").write_text("comment = 'x'\ndefault_version = '2.19.3'\n")
    debs = [
        Path("postgresql-17-timescaledb_2.19.3_amd64.deb"),
        Path("postgresql-17_17.12-0+deb13u1_amd64.deb"),
    ]
    assert tree_versions(tmp_path, debs) == {
        "postgres": "17.12",
        "timescaledb": "2.19.3",
        "edition": "apache",
    }


def test_a_complete_tree_is_used_without_network_lock_or_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_tree(tmp_path)
    monkeypatch.setattr(packages_module.shutil, "which", lambda _name: None)  # fetching would fail
    before = sorted(tmp_path.iterdir())
    Packages(tmp_path).install(Account(os.getuid(), os.getgid(), drop=False))
    assert sorted(tmp_path.iterdir()) == before


def test_a_tree_that_was_moved_does_not_count_as_installed(tmp_path: Path) -> None:
    complete_tree(tmp_path, root=Path("/elsewhere/timescaledb-17"))
    assert Packages(tmp_path).versions() is None


@pytest.mark.parametrize("manifest", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_does_not_count_as_installed(tmp_path: Path, manifest: str) -> None:
    tree = complete_tree(tmp_path)
    (tree / "manifest.json").write_text(manifest)
    assert Packages(tmp_path).versions() is None


def test_a_host_without_apt_gets_one_line_with_the_two_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        packages_module.shutil, "which", lambda name: None if "apt" in name else f"/bin/{name}"
    )
    with pytest.raises(PerpsError) as caught:
        check_host()
    line = str(caught.value)
    assert line.startswith("expected Debian or Ubuntu, got a host without apt-get, apt-cache; ")
    assert "docker/compose.yml" in line
    assert "PGHOST" in line
    assert "\n" not in line


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_another_system_or_processor_is_named(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(packages_module.sys, "platform", system)
    monkeypatch.setattr(packages_module.platform, "machine", lambda: machine)
    with pytest.raises(PerpsError, match=rf"expected Linux on x86_64 or arm64, got .*{machine}"):
        check_host()


def test_a_program_asked_for_before_the_install_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(PerpsError, match="run `perps db start` first"):
        Packages(tmp_path).program("psql")


def test_the_reason_is_the_line_that_names_the_error() -> None:
    output = "Reading package lists...\nErr:1 x\nE: Failed to fetch http://u:pw@m.example/x\nE: Some files\n"
    assert telling_line(output) == "E: Failed to fetch http://m.example/x"
    assert telling_line("  one\n\n two  words \n") == "two words"
    assert telling_line("") == "no output"


def test_secrets_in_addresses_are_masked_and_plain_addresses_are_not() -> None:
    assert (
        mask_secrets("see http://user:pw@host/x and http://host/a@b")
        == "see http://host/x and http://host/a@b"
    )
