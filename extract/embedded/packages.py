"""PostgreSQL and TimescaleDB in a folder: fetched from Debian, unpacked, run with their own libraries."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shlex
import shutil
import sys
from pathlib import Path

from extract.embedded.apt import PrivateApt
from extract.embedded.errors import EmbedError, cannot_embed
from extract.embedded.files import locked, make_folder, one_line_errors
from extract.embedded.mirror import find_mirror
from extract.embedded.programs import Account, ProgramFailed, run

logger = logging.getLogger(__name__)

POSTGRES = "17"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TOOLS = ("apt-get", "apt-cache", "dpkg", "dpkg-deb", "sh")
WANTED = [f"postgresql-{POSTGRES}-timescaledb", f"postgresql-{POSTGRES}", f"postgresql-client-{POSTGRES}"]
ZONES = Path("/usr/share/zoneinfo")

_UNUSED = (
    "share/locale",
    "share/man",
    "share/lintian",
    "share/gdb",
    "share/gcc",
    "share/zoneinfo/localtime*",  # dangling links break pg_timezone_names; glob needs the star
    "share/postgresql/*/man",
    "lib/*/gconv",
    "lib/postgresql/*/lib/bitcode",
    "lib/postgresql/*/lib/llvmjit*",
)


class Packages:
    """The unpacked tree in `cache`/timescaledb-17; a complete tree also works read-only and offline."""

    def __init__(self, cache: Path, mirror: str | None = None) -> None:
        """Set the folder and the mirror (see `find_mirror`); reads and fetches nothing."""
        self.cache = cache.resolve()
        self.root = self.cache / f"timescaledb-{POSTGRES}"
        self._mirror = mirror

    @property
    def programs(self) -> Path:
        """The folder with the programs' wrappers."""
        return self.root / f"usr/lib/postgresql/{POSTGRES}/bin"

    @property
    def zones(self) -> Path:
        """The tree's own time zone files."""
        return self.root / ZONES.relative_to("/")

    def program(self, name: str) -> Path:
        """Return the path of a PostgreSQL program such as `psql`.

        Raises:
            EmbedError: nothing is installed yet, or there is no such program.
        """
        path = self.programs / name
        if not path.is_file():
            raise EmbedError(f"no program {name} in {self.programs}; to install it, run: perps db start")
        return path

    def versions(self) -> dict[str, str] | None:
        """Return {"postgres", "timescaledb", "edition"} of the tree; None if it is not complete."""
        try:
            manifest = json.loads((self.root / "manifest.json").read_text(encoding="utf-8"))
            # the wrappers hold absolute paths: a moved tree cannot run
            return dict(manifest["versions"]) if manifest["root"] == str(self.root) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def install(self, account: Account) -> None:
        """Fetch and unpack the tree unless it is complete; `account` will run it.

        An interrupted install has no effect, because the tree is renamed only when it is complete.

        Raises:
            EmbedError: this host cannot run the server, the mirror cannot be read, or a signature is wrong.
        """
        if self.versions():
            return
        architecture = check_host()
        make_folder(self.cache, 0o755, 0o755)
        if not account.can_reach(self.cache):
            raise EmbedError(
                f"uid {account.uid}, which runs the server, cannot enter {self.cache}; "
                "set PERPS_CACHE to a folder that it can enter"
            )
        work = self.root.with_name(f".{self.root.name}.part")
        with one_line_errors(), locked(work.with_suffix(".lock")) as lock:
            if self.versions():
                return
            for leftover in (work, self.root):
                shutil.rmtree(leftover, ignore_errors=True)
            logger.info("fetching TimescaleDB from Debian's packages (about 50 MB)")
            try:
                self._fetch(work, architecture, lock)
                (work / "root").rename(self.root)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def _fetch(self, work: Path, architecture: str, lock: int) -> None:
        # tools that outlive a killed install keep its lock, so that the next install waits for them
        work.mkdir()
        apt = PrivateApt(work, architecture, find_mirror(self._mirror), lock)
        apt.update()
        debs = apt.download(apt.closure(WANTED))
        logger.info("unpacking %d packages into %s", len(debs), self.root)
        tree = work / "root"
        tree.mkdir()
        tree.chmod(0o755)
        try:
            for deb in debs:
                run(["dpkg", "-x", deb, tree], pass_fds=(lock,))
        except ProgramFailed as failed:
            raise EmbedError(
                f"could not unpack 300 MB into {self.cache}: {failed.reason}; "
                "free disk space, or set PERPS_CACHE to a folder on another disk"
            ) from None
        prune(tree)
        self._wrap(tree)
        if not (ZONES / "UTC").exists():
            use_relative_zones(tree / self.programs.relative_to(self.root).with_name("elf") / "postgres")
        manifest = {
            "root": str(self.root),
            "versions": tree_versions(tree, debs),
            "debs": [deb.name for deb in debs],
        }
        (tree / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        (tree / "manifest.json").chmod(0o644)

    def _wrap(self, tree: Path) -> None:
        """Move the programs to elf/ and put wrappers in bin/ that start them with the tree's own loader."""
        (loader,) = tree.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
        wrappers = tree / self.programs.relative_to(self.root)
        elf = wrappers.rename(wrappers.with_name("elf"))
        loaders = wrappers.with_name("ld")
        for folder in (wrappers, loaders):
            folder.mkdir()
            folder.chmod(0o755)
        for program in elf.iterdir():
            # a hard link of the loader for each program, so that ps and top show the program's name
            os.link(loader, loaders / program.name)
            final = self.programs / program.name
            text = wrapper(final, self.root / loader.parent.relative_to(tree))
            (wrappers / program.name).write_text(text, encoding="utf-8")
            (wrappers / program.name).chmod(0o755)
        extension = sorted(elf.parent.glob("lib/timescaledb*.so"))
        for file in [elf / name for name in ("postgres", "initdb", "pg_ctl", "psql")] + extension:
            check_libraries(loader, file, tree)


def check_host() -> str:
    """Return Debian's name of this machine's architecture.

    Raises:
        EmbedError: not Linux on x86_64 or arm64, or without apt and dpkg.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise cannot_embed("Linux on x86_64 or arm64", f"{platform.system()} {machine}", "use such a host")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise cannot_embed("Debian or Ubuntu", f"a host without {', '.join(missing)}", "use such a host")
    return ARCHITECTURES[machine]


def wrapper(program: Path, libraries: Path) -> str:
    """Return the shell wrapper `program` (.../bin/NAME), which runs ../elf/NAME with the loader ../ld/NAME.

    PostgreSQL finds its share and lib folders, and its sister programs, from argv[0]: hence --argv0. Never
    LD_LIBRARY_PATH, which would leak into the host's own programs.
    """
    versioned = program.parent.parent
    command = [
        versioned / "ld" / program.name,
        "--inhibit-cache",
        "--library-path",
        libraries,
        "--argv0",
        program,
        versioned / "elf" / program.name,
    ]
    return f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n'


def check_libraries(loader: Path, file: Path, tree: Path) -> None:
    """Check that `file` loads no library from outside `tree`, which would mean that a package is missing.

    Raises:
        EmbedError: it loads one, or programs cannot run from this folder.
    """
    try:
        printed = run([loader, "--inhibit-cache", "--library-path", loader.parent, "--list", file])
    except ProgramFailed as failed:
        raise EmbedError(
            f"programs cannot run from {tree.parent.parent}: {failed.reason}; "
            "set PERPS_CACHE to a folder that is not mounted noexec"
        ) from None
    if foreign := foreign_libraries(printed, tree):
        raise EmbedError(
            f"{file.name} loads a library from outside Debian's packages: {foreign[0]}; "
            "report this with the name of your distribution"
        )


def foreign_libraries(printed: str, tree: Path) -> list[str]:
    """Return the lines of `ld.so --list` that name a library outside `tree`, or none at all."""
    return [
        " ".join(line.split()) for line in printed.splitlines() if "=>" in line and f"=> {tree}/" not in line
    ]


def prune(tree: Path) -> None:
    """Delete files that a server never reads, a third of the unpacked tree."""
    for path in [path for pattern in _UNUSED for path in tree.glob(f"usr/{pattern}")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def use_relative_zones(postgres: Path) -> None:
    """Make the server read time zones from `zoneinfo` in its working folder, for hosts without time zones."""
    compiled = f"{ZONES}\0".encode()
    postgres.write_bytes(postgres.read_bytes().replace(compiled, b"zoneinfo".ljust(len(compiled), b"\0")))


def tree_versions(tree: Path, debs: list[Path]) -> dict[str, str]:
    """Return PostgreSQL's version from its package's name, and TimescaleDB's from its control file."""
    (deb,) = [deb for deb in debs if deb.name.startswith(f"postgresql-{POSTGRES}_")]
    (control,) = tree.glob(f"usr/share/postgresql/{POSTGRES}/extension/timescaledb.control")
    default = re.search(r"default_version = '([^']+)'", control.read_text(encoding="utf-8"))
    community = list(tree.glob(f"usr/lib/postgresql/{POSTGRES}/lib/timescaledb-tsl-*.so"))
    return {
        "postgres": deb.name.split("_")[1].split("-")[0],
        "timescaledb": default[1] if default else "",
        "edition": "timescale" if community else "apache",
    }
