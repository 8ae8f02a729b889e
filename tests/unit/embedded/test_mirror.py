from __future__ import annotations

import pytest

from extract.embedded import mirror as mirror_module
from extract.embedded.mirror import (
    Mirror,
    find_mirror,
    mirror_from_apt,
    mirror_from_template,
    mirror_under,
    security_beside,
)
from extract.embedded.programs import ProgramFailed
from extract.errors import PerpsError

DEBIAN_HOST = """\
'http://mirror.example/debian/dists/bookworm/InRelease' mirror.example_debian_dists_bookworm_InRelease 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' x 0
'http://safe.example/debian-security/dists/bookworm-security/InRelease' x 0
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0
"""


def test_the_hosts_own_mirror_is_taken_from_the_addresses_apt_would_fetch() -> None:
    assert mirror_from_apt(DEBIAN_HOST) == Mirror(
        "http://mirror.example/debian", "http://safe.example/debian-security"
    )


def test_a_vendors_archive_that_ends_in_debian_is_not_taken_for_debian() -> None:
    vendor = "'https://vendor.example/linux/debian/dists/bookworm/InRelease' x 0\n"
    found = mirror_from_apt(vendor + DEBIAN_HOST)
    assert found is not None
    assert found.main == "http://mirror.example/debian"


def test_an_archive_directly_under_its_host_is_preferred_when_no_suite_has_updates() -> None:
    found = mirror_from_apt(
        "'https://vendor.example/linux/debian/dists/bookworm/InRelease' x 0\n"
        "'https://mirror.example/debian/dists/bookworm/InRelease' x 0\n"
    )
    assert found is not None
    assert found.main == "https://mirror.example/debian"


def test_a_mirror_below_a_deeper_path_is_accepted() -> None:
    found = mirror_from_apt("'https://repo.example/artifacts/debian/dists/bookworm/InRelease' x 0\n")
    assert found == Mirror(
        "https://repo.example/artifacts/debian", "https://repo.example/artifacts/debian-security"
    )


def test_the_list_files_of_cloud_images_are_accepted() -> None:
    found = mirror_from_apt(
        "'mirror+file:/etc/apt/mirrors/debian.list/dists/bookworm/InRelease' x 0\n"
        "'mirror+file:/etc/apt/mirrors/debian.list/dists/bookworm-updates/InRelease' x 0\n"
        "'mirror+file:/etc/apt/mirrors/debian-security.list/dists/bookworm-security/InRelease' x 0\n"
    )
    assert found == Mirror(
        "mirror+file:/etc/apt/mirrors/debian.list", "mirror+file:/etc/apt/mirrors/debian-security.list"
    )


@pytest.mark.parametrize(
    "printed",
    ["", "'http://mirror.example/ubuntu/dists/noble/InRelease' x 0\n", "E: could not open lock file\n"],
)
def test_a_host_without_a_debian_archive_names_no_mirror(printed: str) -> None:
    assert mirror_from_apt(printed) is None


def test_the_security_archive_is_derived_when_the_host_lists_none() -> None:
    assert security_beside("http://mirror.example/debian") == "http://mirror.example/debian-security"
    assert security_beside("mirror+file:/a/debian.list") == "mirror+file:/a/debian-security.list"


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
