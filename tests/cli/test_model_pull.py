"""`cocoon model pull|list|verify|rm`, as a person uses them."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli import main
from cocoon_p2p.cli.model_pull import find_token, hub_address
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.models.download import WRITTEN_AT_ONCE_BYTES
from cocoon_p2p.inference.models.folder import ModelFolder
from tests.inference.models.host import Host, open_host

DEMO = demo_model().read_bytes()
COMMAND = (sys.executable, "-m", "cocoon_p2p.cli")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with open_host() as host:
        yield host


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    monkeypatch.setenv("COCOON_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COCOON_CATALOGUE", str(tmp_path / "catalogue"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return ModelFolder(tmp_path / "models")


async def cocoon(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(280):
        return await trio.run_process(
            [*COMMAND, "model", *arguments], capture_stdout=True, capture_stderr=True, check=False
        )


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["model", *arguments])
    except SystemExit as exc:
        code = int(exc.code or 0)
    return code, *capsys.readouterr()


@pytest.mark.slow
async def test_a_model_comes_is_listed_is_verified_and_goes(host: Host, folder: ModelFolder) -> None:
    host.put("/mine.gguf", DEMO)

    done = await cocoon("pull", f"{host.url}/mine.gguf")
    listed = await cocoon("list", "--json")
    verified = await cocoon("verify", "mine")
    (folder.files("mine") / "mine.gguf").write_bytes(DEMO[:-1] + b"x")
    spoilt = await cocoon("verify")
    removed = await cocoon("rm", "mine", "--yes")

    assert done.returncode == 0
    assert done.stdout.decode() == f"mine  4.2 MB  {folder.files('mine') / 'mine.gguf'}\n"
    assert b'model = "mine"' in done.stderr
    assert b"nobody said beforehand" in done.stderr
    assert b"\r" not in done.stderr, "progress is for terminals"
    mine = next(row for row in json.loads(listed.stdout) if row["name"] == "mine")
    assert (mine["state"], mine["size_bytes"], mine["used_by"]) == ("pulled", len(DEMO), [])
    assert (verified.returncode, verified.stdout) == (0, b"mine: as it was pulled\n")
    assert spoilt.returncode == 6
    assert b"mine.gguf has other bytes" in spoilt.stdout
    assert removed.returncode == 0
    assert list(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15), (signal.SIGINT, 130)], ids=str
)
async def test_a_pull_that_was_ended_goes_on_where_it_was(
    how: signal.Signals, code: int, host: Host, folder: ModelFolder
) -> None:
    hosted = host.put("/mine.gguf", DEMO, stalls_after=len(DEMO) - 1000)
    part = folder.files("mine") / "mine.gguf.part"
    with trio.fail_after(280):
        process = await trio.lowlevel.open_process(
            [*COMMAND, "model", "pull", f"{host.url}/mine.gguf"], stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        await hosted.fell_silent.wait()
        while not part.exists() or part.stat().st_size < WRITTEN_AT_ONCE_BYTES:  # noqa: ASYNC110 (a file)
            await trio.sleep(0.01)
        process.send_signal(how)
        said = b"".join([some async for some in process.stderr])
        assert await process.wait() == code
    size = part.stat().st_size

    done = await cocoon("pull", f"{host.url}/mine.gguf")

    assert b"Traceback" not in said
    assert done.returncode == 0
    assert host.ranges("/mine.gguf") == ["", f"bytes={size}-"]
    assert (folder.files("mine") / "mine.gguf").read_bytes() == DEMO


def test_a_model_that_is_in_use_stays(folder: ModelFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.files("mine").mkdir(parents=True)
    with folder.use("mine", "worker /etc/worker.toml"):
        code, _, err = here(capsys, "rm", "mine", "--yes")

    assert code == 2
    assert f"in use (model=mine by=worker /etc/worker.toml (process {os.getpid()}))" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("rm", "none", "--yes"), 2, "no such model here"),
        (("rm", "../../etc", "--yes"), 2, "not a model's name"),
        (("verify", "none"), 2, "no such model here"),
        (("pull", "cocoon-demo"), 2, "comes along"),
        (("pull", "nonsense"), 2, "hf:OWNER/REPO"),
        (("pull", "https://host.example/a.gguf", "--sha256", "abc"), 2, "64 hexadecimal digits"),
        (("pull", "http://192.0.2.1/a.gguf"), 2, "plain http"),
        (("pull", "https://host.example/a.gguf", "--name", "../a"), 2, "not a model's name"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    arguments: tuple[str, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = here(capsys, *arguments)

    assert (found, out) == (code, "")
    assert says in err


def test_nobody_is_asked_where_nobody_can_answer(
    folder: ModelFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.files("mine").mkdir(parents=True)
    monkeypatch.setattr("sys.stdin", io.StringIO())

    code, _, err = here(capsys, "rm", "mine")

    assert code == 2
    assert "--yes" in err
    assert folder.files("mine").is_dir()


def test_the_catalogue_and_what_is_not_whole_are_listed(
    folder: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.files("half").mkdir(parents=True)

    code, out, err = here(capsys, "list")

    rows = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert "broken" in rows["half"]
    assert "built in" in rows["cocoon-demo"]
    assert "catalogue" in rows["qwen3-0.6b-q8_0"]
    assert err == "half: not whole: its download did not end\n"


def test_what_is_not_whole_does_not_pass_as_verified(
    folder: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.files("half").mkdir(parents=True)

    code, out, _ = here(capsys, "verify", "half")

    assert (code, out) == (6, "half: not whole: its download did not end\n")


@pytest.mark.parametrize(
    ("environment", "token"),
    [
        ({"HF_TOKEN": "hf_a"}, "hf_a"),
        ({"HF_TOKEN": "", "HF_TOKEN_PATH": "token"}, "hf_b"),
        ({"HF_HOME": "."}, "hf_b"),
        ({"HF_HOME": "nowhere"}, ""),
    ],
)
def test_a_token_is_found_where_the_hubs_own_tools_keep_it(
    environment: Mapping[str, str], token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("token").write_text("hf_b\n")

    assert find_token(environment, None) == token
    assert find_token(environment, Path("token")) == "hf_b"


@pytest.mark.parametrize("content", ["two words", "line\nline", "é"])
def test_what_is_no_token_is_not_repeated(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)

    with pytest.raises(ConfigurationError, match="holds no token") as caught:
        find_token({}, tmp_path / "token")

    assert content not in str(caught.value)


def test_a_mirror_of_the_hub_is_a_url() -> None:
    assert hub_address({"HF_ENDPOINT": "https://mirror.example/"}) == "https://mirror.example"
    with pytest.raises(ConfigurationError):
        hub_address({"HF_ENDPOINT": "mirror.example"})
