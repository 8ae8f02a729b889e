"""A private apt: fetches Debian's signed index and packages without touching the host's own apt state."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from extract.embedded.errors import EmbedError, cannot_embed
from extract.embedded.mirror import VARIABLE, Mirror
from extract.embedded.programs import ProgramFailed, mask_secrets, run

KEYS = Path(__file__).with_name("debian-trixie.gpg")
"""Debian 13's three archive keys (automatic, security, stable), from the package debian-archive-keyring,
whose copyright file says that the keys are not copyrightable. Shipped because Ubuntu's copy is absent or too
old."""

HOST_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Needed by a server: libraries and time zones; no perl, no LLVM (JIT is off), no character set converters.
_FOLLOWED = re.compile(r"(?!libllvm|libperl|libc-gconv)(lib|zlib)|tzdata$")
_UNSIGNED = re.compile(r"NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|not signed|Missing key|[Hh]ash Sum mismatch")


class PrivateApt:
    """apt with its sources, keys, lists and cache in one folder of its own.

    The host's proxy and certificate settings apply, because the configuration is read after
    /etc/apt/apt.conf.d; its sources, keys and hooks do not.
    """

    def __init__(self, folder: Path, architecture: str, mirror: Mirror, lock: int) -> None:
        """Write the configuration into `folder`, which must exist.

        `architecture` is Debian's name (amd64, arm64); `lock` is a descriptor that apt's processes keep open.
        """
        self._lock = lock
        self._folder = folder
        self._mirror = mirror
        self._conf = folder / "apt.conf"
        self._downloads = folder / "debs"
        self._conf.write_text(configuration(folder, architecture), encoding="utf-8")
        (folder / "sources.list").write_text(sources(mirror, "trixie"), encoding="utf-8")
        keys = folder / "trusted.gpg.d"
        keys.mkdir()
        for ring in (KEYS, HOST_KEYS):
            if ring.is_file():
                shutil.copyfile(ring, keys / ring.name)
        self._downloads.mkdir()
        for path in (folder, keys, self._downloads, *keys.iterdir(), self._conf, folder / "sources.list"):
            path.chmod(
                0o755 if path.is_dir() else 0o644
            )  # apt reads them as the user _apt, whatever the caller's umask
        with contextlib.suppress(LookupError, PermissionError):
            shutil.chown(self._downloads, "_apt")  # as root, so that apt can download in its sandbox

    def update(self) -> None:
        """Fetch the package index and check its signature.

        Raises:
            EmbedError: the mirror does not respond, or its index is not signed by Debian.
        """
        try:
            self._apt("apt-get", "-q", "--error-on=any", "update")
        except ProgramFailed as failed:
            if _UNSIGNED.search(failed.output):
                raise _unsigned(failed) from None
            raise cannot_embed(
                f"Debian's package index at {mask_secrets(self._mirror.main)}",
                failed.reason,
                f"check the network, or name another mirror in {VARIABLE}",
            ) from None

    def closure(self, wanted: list[str]) -> list[str]:
        """Return `wanted` and every package that a server started from them needs.

        Raises:
            EmbedError: the index does not hold them.
        """
        try:
            printed = self._apt("apt-cache", "depends", "--recurse", "--important", *wanted)
        except ProgramFailed as failed:
            raise EmbedError(
                f"{wanted[0]} is not in Debian's index: {failed.reason}; set {VARIABLE} to another mirror"
            ) from None
        return needed(wanted, printed)

    def download(self, names: list[str]) -> list[Path]:
        """Fetch the packages, checked against the signed index, and return the .deb files in order of name.

        Raises:
            EmbedError: a package is missing or does not match the index.
        """
        try:
            self._apt("apt-get", "-q", "download", *names)
        except ProgramFailed as failed:
            if _UNSIGNED.search(failed.output):
                raise _unsigned(failed) from None
            raise EmbedError(
                f"could not download {len(names)} Debian packages: {failed.reason}; "
                "run the same command again"
            ) from None
        return sorted(self._downloads.glob("*.deb"))

    def _apt(self, program: str, *words: str) -> str:
        return run([program, "-c", self._conf, *words], cwd=self._downloads, pass_fds=(self._lock,))


def _unsigned(failed: ProgramFailed) -> EmbedError:
    return EmbedError(
        f"files are not signed by Debian: {failed.reason}; nothing was installed; "
        f"set {VARIABLE} to another mirror"
    )


def configuration(folder: Path, architecture: str) -> str:
    """Return an apt.conf that keeps all state in `folder`; apt reads it after the host's own files."""
    values = {
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "Dir::Etc": folder,
        "Dir::State": folder,
        "Dir::Cache": folder,
        "Dir::State::status": "/dev/null",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": 20,
        "Acquire::https::Timeout": 20,
        "Acquire::AllowInsecureRepositories": "false",
        "APT::Get::AllowUnauthenticated": "false",
    }
    # APT::Update holds hooks that other packages, such as PackageKit, run after an update
    cleared = "#clear APT::Architectures;\n#clear APT::Update;\n"
    return cleared + "".join(f'{key} "{value}";\n' for key, value in values.items())


def sources(mirror: Mirror, release: str) -> str:
    """Return sources.list: the release and its security updates."""
    return f"deb {mirror.main} {release} main\ndeb {mirror.security} {release}-security main\n"


def needed(wanted: list[str], printed: str) -> list[str]:
    """Return `wanted` and all their dependencies, from the output of `apt-cache depends --recurse`."""
    depends: dict[str, list[str]] = {}
    package = ""
    for line in printed.splitlines():
        if found := re.match(r"\s+\|?(?:Pre)?Depends: (\S+)", line):
            depends.setdefault(package, []).append(found[1])
        elif line and not line[0].isspace():
            package = line.strip()
    names = list(wanted)
    for name in names:  # grows during the loop
        names += [
            other
            for other in dict.fromkeys(depends.get(name, ()))
            if _FOLLOWED.match(other) and other not in names
        ]
    return names
