"""The soak itself, for some seconds: that everybody comes up, is looked at, ends, and agrees."""

from pathlib import Path

import pytest

from tests.soak import __main__ as program


@pytest.mark.long
async def test_a_soak_of_seconds_sees_everybody_twice_and_finds_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WARM_UP_SECONDS", "WHILE_SECONDS", "LOOK_EVERY_SECONDS"):
        monkeypatch.setattr(program, name, 3.0)
    monkeypatch.setattr(program, "GUEST_STAYS_SECONDS", (3.0, 5.0))
    monkeypatch.setenv("COCOON_SOAK_GAUGES", str(tmp_path / "gauges"))
    monkeypatch.setenv("PYTHONPATH", str(program.PROBE))
    (tmp_path / "gauges").mkdir()
    soak = program.Soak(minutes=0.3, gauges=tmp_path / "gauges")

    await program.run(soak, tmp_path)

    assert soak.faults == []
    assert {name: len(whiles) for name, whiles in soak.seen.items()} == dict.fromkeys(
        ("bootstrap", "proxy", "worker-1", "worker-2", "client-1", "client-2"), 2
    )
    assert soak.done["channels"] >= 6
