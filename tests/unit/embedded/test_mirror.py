from __future__ import annotations

import pytest

from extract.embedded import mirror as mirror_module
from extract.embedded.mirror import Mirror, find_mirror, mirror_from_apt, mirror_from_template, mirror_under
from extract.embedded.programs import ProgramFailed
from extract.errors import PerpsError


def listed(*addresses: str) -> str:
    """Return what apt-get prints of the release files that it would fetch."""
    return "".join(f"'{address}/InRelease' x 0\n" for address in addresses)


HOST = (
    *("http://mirror.example/debian/dists/bookworm", "http://mirror.example/debian/dists/bookworm-updates"),
    "http://safe.example/debian-security/dists/bookworm-security",
)
VENDOR = "https://vendor.example/linux/debian/dists/bookworm"
FILES = "mirror+file:/etc/apt/mirrors"
FOUND = {
    "the host's own": (HOST, "http://mirror.example/debian", "http://safe.example/debian-security"),
    "not a vendor's": (
        *((VENDOR, *HOST), "http://mirror.example/debian", "http://safe.example/debian-security"),
    ),
    "rather the one directly under its host": (
        (VENDOR, "https://mirror.example/debian/dists/bookworm"),
        *("https://mirror.example/debian", "https://mirror.example/debian-security"),
    ),
    "below a deeper path": (
        ("https://repo.example/artifacts/debian/dists/bookworm",),
        *("https://repo.example/artifacts/debian", "https://repo.example/artifacts/debian-security"),
    ),
    "the list files of cloud images": (
        (f"{FILES}/debian.list/dists/bookworm", f"{FILES}/debian.list/dists/bookworm-updates"),
        *(f"{FILES}/debian.list", f"{FILES}/debian-security.list"),
    ),
}


@pytest.mark.parametrize(("addresses", "main", "security"), FOUND.values(), ids=FOUND)
def test_the_mirror_is_found_among_what_apt_would_fetch(addresses, main, security) -> None:
    assert mirror_from_apt(listed(*addresses)) == Mirror(main, security)


@pytest.mark.parametrize(
    "printed", ["", listed("http://mirror.example/ubuntu/dists/noble"), "E: could not open lock file\n"]
)
def test_a_host_without_a_debian_archive_names_no_mirror(printed: str) -> None:
    assert mirror_from_apt(printed) is None


def test_the_first_base_address_that_ends_in_debian_is_taken_from_ubuntus_template() -> None:
    template = (
        "ChangelogURI: https://meta.example/%s\n\nSuite: x-security\nBaseURI: https://safe.example/\n\n"
        "Suite: {series}\nBaseURI: https://mirror.example/debian/\nMatchURI: .*\n"
    )
    assert mirror_from_template(template) == Mirror(
        "https://mirror.example/debian", "https://mirror.example/debian-security"
    )
    assert mirror_from_template("BaseURI: https://safe.example/\n") is None


def test_a_mirror_named_by_hand_wins_and_the_argument_wins_over_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERPS_DEBIAN_MIRROR", "http://variable.example/")
    assert find_mirror() == Mirror(
        "http://variable.example/debian", "http://variable.example/debian-security"
    )
    assert find_mirror("http://argument.example").main == "http://argument.example/debian"


@pytest.mark.parametrize("base", ["nonsense", "http://mirror.example/a b", "/srv/mirror"])
def test_an_address_that_is_not_one_is_refused_by_name(base: str) -> None:
    with pytest.raises(PerpsError, match=r"expected an address .* in PERPS_DEBIAN_MIRROR, got"):
        mirror_under(base)


def test_a_password_in_a_refused_address_is_not_repeated() -> None:
    with pytest.raises(PerpsError) as caught:
        mirror_under("http://user:hidden@mirror.example/a b")
    assert "hidden" not in str(caught.value)


def test_a_host_where_nothing_names_a_mirror_gets_one_line_with_every_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    def fails(_command: object) -> str:
        raise ProgramFailed("apt-get", "E: broken configuration")

    monkeypatch.delenv("PERPS_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(mirror_module, "run", fails)
    monkeypatch.setattr(mirror_module, "TEMPLATE", tmp_path / "absent")
    with pytest.raises(PerpsError) as caught:
        find_mirror()
    line = str(caught.value)
    assert "\n" not in line
    for way in ("PERPS_DEBIAN_MIRROR", "docker/compose.yml", "PGHOST"):
        assert way in line
