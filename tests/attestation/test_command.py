"""`cocoon attest` as a person and as a script use it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.attestation import encode_evidence, simulate
from cocoon_p2p.cli import main
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.testing.machines import TdBody
from tests.attestation.scene import CPU, NETWORK, NOW, Scene
from tests.json_schemas.judging import judge

SCENE = Scene()

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder of its own, believing the paper machine's root as well."""
    monkeypatch.chdir(tmp_path)
    # The one way to inject a root: from the test's own code.
    monkeypatch.setattr("cocoon_p2p.cli.attest.VENDOR_ROOTS", SCENE.roots)

    def invoke(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(["attest", *map(str, arguments)])
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capsys.readouterr()
        judge(["attest", *arguments], out)
        return code, out, err

    return invoke


def policy_text(body: TdBody, **changes: str) -> str:
    image = {"mrtd": body.mrtd, **{f"rtmr{number}": body.rtmrs[number] for number in range(3)}}
    head = {"network": '"test"', "epoch": "3", "expires": "2027-06-01T00:00:00Z"} | changes
    lines = [f"{name} = {value}" for name, value in head.items()]
    lines += ["[[image]]", 'name = "paper"', 'build = "none"', 'role = "worker"']
    return "\n".join([*lines, *(f'{name} = "{value.hex()}"' for name, value in image.items())]) + "\n"


@pytest.fixture
def papers(run: Run, tmp_path: Path) -> list[str]:
    """Lay out everything that passes; give the arguments that make `verify` pass it."""
    (tmp_path / "evidence").write_bytes(SCENE.evidence)
    (tmp_path / "statement").write_bytes(encode_signed(SCENE.statement))
    (tmp_path / "lists.json").write_bytes(SCENE.machine.collateral())
    (tmp_path / "policy.toml").write_text(policy_text(SCENE.body))
    _, out, _ = run("policy", "sign", "policy.toml", "--key", "key")
    pin = out.split()[-1]
    words = (
        f"evidence --statement statement --collateral lists.json --policy policy.toml --pin {pin} --at {NOW}"
    )
    return ["verify", *words.split()]


def without(papers: list[str], option: str) -> list[str]:
    at = papers.index(option)
    return papers[:at] + papers[at + 2 :]


def test_a_policy_that_passes_evidence_gives_exit_code_0(run: Run, papers: list[str]) -> None:
    code, out, _ = run(*papers)

    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) > 1)
    assert (lines["level"], lines["hardware"], lines["keys"], lines["gpu"]) == (
        "tdx",
        "affirmed",
        "affirmed",
        "unknown",
    )


def test_a_verdict_as_json_has_every_field(run: Run, papers: list[str]) -> None:
    code, out, _ = run(*papers, "--json")

    facts = json.loads(out)
    assert code == 0
    assert (facts["has_passed"], facts["level"], facts["cause"]) == (True, "tdx", "passed")
    assert list(facts["vector"].values()) == ["affirmed"] * 4 + ["unknown"] * 2
    assert facts["configuration"]["weights_hash"] == CPU.weights_hash.hex()
    assert facts["td"]["rtmr3"] == SCENE.body.rtmrs[3].hex()


@pytest.mark.parametrize(
    ("missing", "cause"),
    [
        ("--policy", "statement-invalid"),
        ("--statement", "keys-not-bound"),
        ("--collateral", "collateral-missing"),
        ("--at", "collateral-stale"),
    ],
)
def test_without_one_of_its_proofs_nothing_passes(
    run: Run, papers: list[str], missing: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.cli.attest.time.time", lambda: NOW + 100 * 86_400)
    papers = without(papers, missing)
    if missing == "--at":
        papers = without(without(papers, "--statement"), "--policy")

    code, out, _ = run(*papers, "--json")

    assert (code, json.loads(out)["cause"]) == (5, cause)


def test_a_bare_quote_is_verified_and_passes_nothing(run: Run, papers: list[str], tmp_path: Path) -> None:
    (tmp_path / "quote.hex").write_text((SCENE.quote + bytes(70)).hex() + "\n")

    code, out, _ = run("verify", "quote.hex", "--collateral", "lists.json", "--at", NOW, "--json")

    facts = json.loads(out)
    assert (code, facts["cause"], facts["vector"]["hardware"]) == (5, "no-image-listed", "affirmed")


def test_no_policy_is_taken_without_a_pin_or_with_another(run: Run, papers: list[str]) -> None:
    code, _, err = run(*without(papers, "--pin"))
    assert (code, "no key is pinned" in err) == (2, True)

    code, _, err = run(*without(papers, "--pin"), "--pin", "00" * 32)
    assert (code, "not signed by enough pinned keys" in err) == (5, True)


def test_pins_can_be_more_than_must_sign(run: Run, papers: list[str]) -> None:
    assert run(*papers, "--pin", "00" * 32, "--pins-needed", 1)[0] == 0
    assert run(*papers, "--pin", "00" * 32)[0] == 5
    assert run(*papers, "--pins-needed", 0)[0] == 2
    assert run(*papers, "--pin", "zz")[0] == 2


def test_a_simulation_is_refused(run: Run, papers: list[str], tmp_path: Path) -> None:
    (tmp_path / "evidence").write_bytes(simulate(SCENE.statement, NETWORK, events=SCENE.events))

    code, out, _ = run(*papers)

    assert code == 5
    assert "NOT A TEE" in out


def test_a_simulation_passes_where_the_policy_says_so_and_the_output_says_insecure(
    run: Run, papers: list[str], tmp_path: Path
) -> None:
    (tmp_path / "evidence").write_bytes(simulate(SCENE.statement, NETWORK, events=SCENE.events))
    text = policy_text(SCENE.body, accept='["sim-INSECURE-v1"]', allow_insecure="true")
    (tmp_path / "policy.toml").write_text(text)
    run("policy", "sign", "policy.toml", "--key", "key")

    code, out, _ = run(*papers)

    assert code == 0
    assert "sim-INSECURE-v1" in out
    assert "NOT A TEE" in out


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x04\x00" + b"\xff" * 20_000, b"[" * 300_000])
def test_junk_is_refused_in_one_line(run: Run, papers: list[str], tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "evidence").write_bytes(junk)

    code, out, err = run(*papers)

    assert (code, out) == (5, "")
    assert err.startswith("cocoon: nothing can be verified")


def test_what_evidence_claims_is_shown_and_cannot_steer_a_terminal(
    run: Run, papers: list[str], tmp_path: Path
) -> None:
    code, out, _ = run("show", "evidence")
    assert code == 0
    assert "verified                False" in out
    assert "cocoon-configuration" in out

    scene = Scene(configuration=replace(CPU, upstream="http://\x1b[2J"))
    (tmp_path / "evidence").write_bytes(encode_evidence(scene.shown))
    (tmp_path / "statement").write_bytes(encode_signed(scene.statement))
    code, out, _ = run(*papers)
    assert code == 5
    assert "\x1b" not in out


def test_a_policy_is_shown_with_those_who_signed_it(run: Run, papers: list[str]) -> None:
    code, out, _ = run("policy", "show", "policy.toml", "--json")

    facts = json.loads(out)
    assert (code, facts["epoch"], facts["images"][0]["role"]) == (0, 3, "worker")
    assert facts["signed_by"] == [papers[papers.index("--pin") + 1]]
    assert run("policy", "show", "policy.toml")[0] == 0


def test_a_signed_policy_is_as_readable_as_before(run: Run, papers: list[str], tmp_path: Path) -> None:
    (tmp_path / "policy.toml").chmod(0o644)

    assert run("policy", "sign", "policy.toml", "--key", "other")[0] == 0

    assert (tmp_path / "policy.toml").stat().st_mode & 0o777 == 0o644
    assert len(json.loads(run("policy", "show", "policy.toml", "--json")[1])["signed_by"]) == 2


def test_what_is_no_policy_is_neither_shown_nor_signed_and_makes_no_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("network = 5\n")

    for arguments in (["policy", "show", "bad.toml"], ["policy", "sign", "bad.toml", "--key", "new"]):
        code, _, err = run(*arguments)
        assert (code, "policy rejected" in err) == (5, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("at", ["nan", "-1", "1e18", "inf"])
def test_a_time_that_is_none_is_wrong_usage(run: Run, papers: list[str], at: str) -> None:
    assert run(*without(papers, "--at"), "--at", at)[0] == 2


def test_a_file_that_is_not_there_is_wrong_usage(run: Run) -> None:
    assert run("show", "nothing")[0] == 2


def test_no_key_of_a_policy_can_set_a_root(run: Run, papers: list[str], tmp_path: Path) -> None:
    for line in ('root = "00"\n', 'intel_root = "00"\n', 'roots = ["00"]\n'):
        (tmp_path / "policy.toml").write_text(line + policy_text(SCENE.body))
        assert run("policy", "sign", "policy.toml", "--key", "key")[0] == 5
