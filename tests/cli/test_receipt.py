"""`cocoon receipt`: what it says, what it exits with, and what it never shows."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.cli import main
from cocoon_p2p.protocols.exchange.bundle import decode_bundle, encode_bundle
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import paper_hash, sign
from cocoon_p2p.records import make_record
from tests.protocols import samples

VECTOR = json.loads(
    (Path(__file__).parents[2] / "protocols" / "vectors" / "bundle.json").read_text(encoding="utf-8")
)
ANSWER: str = VECTOR["answer"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["receipt", *map(str, arguments)])
        raise SystemExit(0)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    file = tmp_path / "receipt"
    file.write_bytes(bytes.fromhex(VECTOR["bytes"]))
    return file


def test_a_receipt_that_holds_says_so_in_plain_words_and_ends_with_0(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = receipt.with_name("answer.txt")
    kept.write_text(ANSWER + "\n")

    code, out, _ = run(capsys, "verify", receipt, "--answer", kept, "--network", "vectors")

    assert code == 0
    assert out.splitlines()[-1] == "The receipt holds: 0.000000299 TON for this exchange."
    assert out.count("yes  ") == 13
    assert "292 nanoTON for the worker: the quote's prices over the counts" in out
    assert "they are the answer that was kept" in out


def test_as_json_it_gives_the_facts_and_the_answer(receipt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "verify", receipt, "--json")

    facts = json.loads(out)
    assert code == 0
    assert (facts["holds"], facts["client_paid"], facts["commission"]) == (True, 299, 7)
    assert facts["answer"] == ANSWER
    assert facts["usage"]["completion_tokens"] == 8
    assert {finding["claim"] for finding in facts["findings"]} == {"affirmed"}


@pytest.mark.parametrize("vector", VECTOR["refuted"], ids=lambda vector: str(vector["why"]))
def test_a_receipt_that_does_not_hold_names_what_and_ends_with_6(
    vector: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "receipt"
    file.write_bytes(bytes.fromhex(vector["bytes"]))

    code, out, _ = run(capsys, "verify", file)

    assert code == 6
    assert f" NO  {vector['question']} " in out
    assert out.splitlines()[-1] == "The receipt does not hold."


def test_another_answer_than_the_kept_one_ends_with_6(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = receipt.with_name("answer.txt")
    kept.write_text(ANSWER.replace("silken", "wooden"))

    code, out, _ = run(capsys, "verify", receipt, "--answer", kept)

    assert code == 6
    assert "answer: not the one that was kept" in out


def test_another_network_ends_with_6(receipt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "verify", receipt, "--network", "mainnet")

    assert code == 6
    assert "not of the network 'mainnet'" in err


@pytest.mark.parametrize("content", [b"", b"{}", b"\xa0", bytes(13 * 1024 * 1024), b"\xa1\x01\x60"])
def test_a_file_that_is_no_receipt_ends_with_2(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "receipt"
    file.write_bytes(content)

    code, _, err = run(capsys, "verify", file)

    assert code == 2
    assert "is not a receipt" in err


def test_a_file_that_is_not_there_and_an_answer_that_is_no_text_end_with_2(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = receipt.with_name("answer.txt")
    kept.write_bytes(b"\xff")

    assert run(capsys, "verify", receipt.with_name("none"))[0] == 2
    assert run(capsys, "verify", receipt, "--answer", kept)[0] == 2


def test_a_redacted_receipt_holds_and_does_not_open(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = receipt.with_name("redacted")

    assert run(capsys, "redact", receipt, out_file)[0] == 0
    code, out, _ = run(capsys, "verify", out_file, "--json")

    facts = json.loads(out)
    assert (code, facts["holds"], facts["answer"]) == (0, True, None)
    assert stat.S_IMODE(out_file.stat().st_mode) == 0o600
    assert decode_bundle(out_file.read_bytes()).ask is None
    # One that is there is not written over.
    assert run(capsys, "redact", receipt, out_file)[0] == 2


def test_what_a_worker_wrote_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "\x1b[2J all\n ok  receipt     is well"
    record = make_record(
        samples.WORKER,
        samples.NETWORK,
        role=Role.WORKER,
        statement=samples.WORKER_STATEMENT,
        addresses=(),
        models=(replace(samples.OFFER, name=name),),
        now=samples.NOW,
        sequence=8,
    )
    quote = sign(samples.PROXY, samples.NETWORK, replace(samples.QUOTE, worker_record=record))
    receipt = replace(samples.RECEIPT, model=name, quote_hash=paper_hash(quote))
    settlement = replace(
        samples.SETTLEMENT,
        quote_hash=paper_hash(quote),
        receipt=sign(samples.WORKER, samples.NETWORK, receipt),
    )
    signed = sign(samples.PROXY, samples.NETWORK, settlement)
    file = tmp_path / "receipt"
    file.write_bytes(encode_bundle(replace(samples.BUNDLE, quote=quote, settlement=signed)))

    _, out, _ = run(capsys, "verify", file)

    assert "all  ok  receipt     is well" in out
    assert "\x1b" not in out


def test_a_policy_that_does_not_pass_the_evidence_ends_with_5(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = receipt.with_name("policy.toml")
    policy.write_text('network = "vectors"\nepoch = 1\nexpires = "2026-06-01T00:00:00Z"\n')
    with pytest.raises(SystemExit):
        main(["attest", "policy", "sign", str(policy), "--key", str(receipt.with_name("key"))])
        raise SystemExit
    pin = capsys.readouterr().out.split()[-1]

    code, out, _ = run(capsys, "verify", receipt, "--policy", policy, "--pin", pin, "--json")
    without_pin = run(capsys, "verify", receipt, "--policy", policy)
    other_pin = run(capsys, "verify", receipt, "--policy", policy, "--pin", "00" * 32)

    assert code == 5
    assert "evidence: the policy does not pass it: evidence-malformed" in out
    assert without_pin[0] == 2
    assert other_pin[0] == 5
    assert "not signed by enough pinned keys" in other_pin[2]
