"""A node's file is looked at before the node does."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon, main
from cocoon_p2p.config import WorkerFile, load

EXAMPLES = sorted(Path("examples").glob("*.toml"))


def run(*arguments: object, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(cocoon, [str(each) for each in arguments], env=environment)
    return result.exit_code, result.stdout


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_right_and_of_the_role_that_its_name_says(file: Path) -> None:
    code, out = run("config", "check", "--json", file)

    told = json.loads(out)
    assert code == 0
    assert told["mistakes"] == []
    assert file.stem.startswith(told["role"])


def test_every_mistake_is_told_at_once_as_json(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('[worker]\nmodle = "demo"\nslots = 0\n[network]\nname = "local"\n')

    code, out = run("config", "check", "--json", file)

    assert code == 2
    assert [(each["line"], each["column"]) for each in json.loads(out)["mistakes"]] == [
        (1, 1),
        (2, 1),
        (3, 1),
    ]


def test_a_wrong_file_is_shown_with_a_caret_and_ends_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.toml"
    file.write_text('[network]\nname = "local"\nbootstraps = []\n')

    with pytest.raises(SystemExit) as ended:
        main(["config", "check", str(file)])

    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "client.toml:3:1: unknown key `bootstraps` in [network], did you mean `bootstrap`?" in told
    assert "    bootstraps = []\n    ^" in told


def test_what_holds_is_shown_with_who_says_so() -> None:
    _, out = run("config", "show", "examples/worker.toml", COCOON_WORKER__SLOTS="7")

    lines = {line.split(" =")[0]: line for line in reversed(out.splitlines())}
    assert lines["model"].endswith("# worker.toml:5")
    assert lines["slots"].startswith("slots = 7 ")
    assert lines["slots"].endswith("# COCOON_WORKER__SLOTS")
    assert lines["deposits_max"].endswith("# default")


def test_what_holds_is_shown_as_a_file_that_says_the_same(tmp_path: Path) -> None:
    shown = tmp_path / "shown.toml"
    for file in EXAMPLES:
        if file.stem.startswith("worker"):
            shown.write_text(run("config", "show", file)[1])
            assert load(WorkerFile, shown, {}).settings == load(WorkerFile, file, {}).settings


def test_json_says_what_each_key_means() -> None:
    _, out = run("config", "show", "--json", "examples/client.toml")

    told = json.loads(out)["client"]["max_cost"]
    assert told["value"] == 100_000_000
    assert told["from"].startswith("client.toml:")
    assert "nanoTON" in told["meaning"]
