"""What a machine lacks is named, with how to get it: a skip that says less is never looked into."""

import os
import shutil
from pathlib import Path

import pytest

from tests.nat import requirements

missing = requirements.missing.__wrapped__


def test_this_machine_lacks_nothing_or_these_tests_are_skipped() -> None:
    assert missing() is None


@pytest.mark.parametrize(
    ("lacking", "package"), [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")]
)
def test_a_program_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacking: str, package: str
) -> None:
    for program in {"ip", "tc", "nft"} - {lacking}:
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert missing() == f"`{lacking}` is not installed; Debian, Ubuntu: apt install {package}"


def test_who_is_not_root_is_told_how_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "needs root: sudo" in (missing() or "")


def test_a_machine_without_tun_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "TUN", tmp_path / "tun")

    assert "cannot be opened (No such file or directory): modprobe tun" in (missing() or "")


def test_what_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_RULES", "table ip probe { chain one { type nonsense; } }")

    assert "this kernel has no nf_tables with NAT (CONFIG_NF_TABLES" in (missing() or "")
