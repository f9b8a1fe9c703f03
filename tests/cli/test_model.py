"""`cocoon model hash`, and pins that a command cannot take."""

import json
from pathlib import Path

import pytest

from cocoon_p2p.cli import main
from cocoon_p2p.inference import manifest
from cocoon_p2p.inference.catalogue import DEMO_WEIGHTS_HASH, demo_model


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = 0
    try:
        main([*map(str, arguments)])
    except SystemExit as exc:
        code = int(exc.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_hash_of_a_model_tells_its_adapters(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    _, plain, _ = run(capsys, "model", "hash", demo_model())
    code, adapted, _ = run(capsys, "model", "hash", demo_model(), "--adapter", tmp_path)

    assert code == 0
    assert adapted != plain


def test_the_hash_of_a_model_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "model", "hash", demo_model())

    assert (code, out, err) == (0, f"{DEMO_WEIGHTS_HASH.hex()}\n", "")


def test_as_json_it_names_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "model", "hash", demo_model(), "--json")

    assert json.loads(out) == {"path": str(demo_model()), "weights_hash": DEMO_WEIGHTS_HASH.hex()}


def test_where_it_takes_long_a_line_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "PROGRESS_SECONDS", 0.0)

    _, out, err = run(capsys, "model", "hash", demo_model())

    assert out == f"{DEMO_WEIGHTS_HASH.hex()}\n"
    assert err.startswith("hashing: 0.0 of 0.0 GB\n")


def test_what_is_no_model_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "model", "hash", tmp_path / "none.gguf")

    assert code == 2
    assert "missing=none.gguf" in err


def test_a_receipt_that_could_not_be_kept_is_found_out_before_anything_is_bought(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "ask", "Hello", "--receipt", tmp_path / "nowhere" / "receipt")

    assert code == 2
    assert "no folder for the receipt" in err


def test_an_evaluation_names_the_tasks_and_what_was_right(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "model", "evaluate", "--task", "summary, unseen", "--count", 2, "--wrong", "--json"
    )

    assert (code, err) == (0, "")
    facts = json.loads(out)
    (score,) = facts["tasks"]
    assert (facts["model"], facts["path"]) == ("demo", str(demo_model()))
    assert (score["task"], score["asked"], score["ended"]) == ("summary, unseen", 2, 2)
    assert score["right"] + len(facts["wrong"]) == 2


def test_an_evaluation_as_a_table_has_a_line_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys,
        "model",
        "evaluate",
        demo_model(),
        "--task",
        "chat, trained",
        "--task",
        "summary, unseen",
        "--count",
        1,
    )

    assert code == 0
    head, *lines = out.splitlines()
    assert head.split() == ["task", "right", "ended", "by", "itself"]
    assert [" ".join(line.split()[:2]) for line in lines] == ["summary, unseen", "chat, trained"]


def test_an_unknown_task_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "model", "evaluate", "--task", "poetry")

    assert (code, out) == (2, "")
    assert "no such task (task=poetry)" in err
    assert "summary, unseen" in err
