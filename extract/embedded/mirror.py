"""Finds a Debian mirror: the configured one, else the one of this host's apt, else Debian's default."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.embedded.errors import EmbedError, cannot_embed
from extract.embedded.programs import ProgramFailed, mask_secrets, run

VARIABLE = "PERPS_DEBIAN_MIRROR"
TEMPLATE = Path("/usr/share/python-apt/templates/Debian.info")

# debian.list and debian-security.list: the mirror+file lists of Debian's cloud images
_INDEX = re.compile(r"^'(?P<archive>[^']+?)/+dists/(?P<suite>[^']+?)/InRelease'", re.MULTILINE)
_MAIN = re.compile(r"/debian(\.list)?$")
_SECURITY = re.compile(r"/debian-security(\.list)?$")


@dataclass(frozen=True)
class Mirror:
    """The URIs of Debian's two archives, without a trailing slash."""

    main: str
    security: str


def find_mirror(base: str | None = None) -> Mirror:
    """Return the mirror to fetch from.

    `base`, or else PERPS_DEBIAN_MIRROR, is a URI that has `/debian` and `/debian-security` below it. Without
    either, the host's apt configuration is read, and then the template that Ubuntu ships for Debian.

    Raises:
        EmbedError: `base` is not a URI, or no mirror is configured.
    """
    if named := base or os.environ.get(VARIABLE):
        return mirror_under(named)
    for found in _candidates():
        if found:
            return found
    raise cannot_embed(
        "a Debian mirror in this host's apt configuration",
        "none",
        f"set {VARIABLE} to the URL that has /debian and /debian-security below it",
    )


def _candidates() -> Iterator[Mirror | None]:
    # `apt-get indextargets` lists nothing before the first `apt-get update`; this needs no lists and no root
    try:
        yield mirror_from_apt(run(["apt-get", "--print-uris", "update"]))
    except ProgramFailed:
        yield None
    try:
        yield mirror_from_template(TEMPLATE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        yield None


def mirror_under(base: str) -> Mirror:
    """Return the mirror whose archives are `base`/debian and `base`/debian-security.

    Raises:
        EmbedError: `base` is not a URI, or contains a space.
    """
    if not re.fullmatch(r"[a-z+]+:/\S+", base):
        raise EmbedError(
            f"expected a URL such as http://host/path in {VARIABLE}, got {mask_secrets(repr(base))}; "
            "/debian and /debian-security are added to it"
        )
    return Mirror(f"{base.rstrip('/')}/debian", f"{base.rstrip('/')}/debian-security")


def mirror_from_apt(uris: str) -> Mirror | None:
    """Return the mirror in the output of `apt-get --print-uris update`, None if none looks like Debian's.

    Other vendors' archives end in /debian too (Docker, packagecloud). Debian's own has an `-updates` suite,
    or lies directly below the host.
    """
    suites: dict[str, list[str]] = {}
    for index in _INDEX.finditer(uris):
        suites.setdefault(index["archive"], []).append(index["suite"])

    def rank(archive: str) -> tuple[bool, bool]:
        has_updates = any(suite.endswith("-updates") for suite in suites[archive])
        return not has_updates, not re.fullmatch(r"[^:]+://[^/]+/debian", archive)

    main = sorted(filter(_MAIN.search, suites), key=rank)
    if not main:
        return None
    security = [archive for archive in suites if _SECURITY.search(archive)]
    return Mirror(main[0], security[0] if security else security_beside(main[0]))


def mirror_from_template(template: str) -> Mirror | None:
    """Return the mirror of the first `BaseURI` ending in /debian in python-apt's Debian.info, else None."""
    for line in template.splitlines():
        key, _, value = line.partition(":")
        archive = value.strip().rstrip("/")
        if key.strip() == "BaseURI" and _MAIN.search(archive):
            return Mirror(archive, security_beside(archive))
    return None


def security_beside(main: str) -> str:
    """Return the security archive beside a main archive: `.../debian` becomes `.../debian-security`."""
    return _MAIN.sub(r"/debian-security\1", main)
