"""`cocoon bench`: a table or JSON of what was measured, and a file that the worker goes by."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.cli import main
from cocoon_p2p.cli.spell import offer_facts
from cocoon_p2p.client import Offered
from cocoon_p2p.identity import PeerId
from cocoon_p2p.inference.measuring.kept import read_measurements
from cocoon_p2p.protocols.messages import Rates
from tests.protocols.samples import OFFER, PROXY

WORKER = '[worker]\nmodel = "demo"\nslots = 2\ncontext_tokens = 128\nthreads = 1\n[network]\nname = "local"\n'


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.slow
def test_the_demo_model_is_measured_printed_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(WORKER)
    main(["bench", str(file), "--seconds", "0.1", "--json"])
    out, err = capsys.readouterr()

    found = json.loads(out)["cocoon-demo"]
    kept = read_measurements(tmp_path / "data")["cocoon-demo"]
    first = found["levels"][0]
    assert (first["requests_at_once"], first["decode_tokens_per_second"]) == (1, kept.levels[0].decode)
    assert found["advertised"]["prefill_tokens_per_second"] == first["prefill_tokens_per_second"] > 0
    assert found["circumstances"]["slots"] == 2
    assert "1 at once" in err


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, str(tmp_path / "worker.toml"))

    assert (code, out) == (2, "")


def test_no_time_at_all_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, str(tmp_path / "worker.toml"), "--seconds", "0")[0] == 2


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        (None, None),
        (Rates(812_500, 31_250, 12_400), {"prefill": 812.5, "decode": 31.25, "decode_at_full_load": 12.4}),
        (Rates(1_500), {"prefill": 1.5, "decode": None, "decode_at_full_load": None}),
    ],
)
def test_who_looks_at_offers_sees_the_rates(rates: Rates | None, told: object) -> None:
    offer = Offered(replace(OFFER, rates=rates), PeerId(PROXY.peer_id), 0, has_channel=False)

    assert offer_facts(offer)["rates"] == told
