"""One file, from hosts that cut, stall and lie."""

import errno
import hashlib
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.inference.models import part as parts
from cocoon_p2p.inference.models.download import WRITTEN_AT_ONCE_BYTES, download
from cocoon_p2p.inference.models.fetching import Fetcher, open_fetcher
from cocoon_p2p.inference.models.part import SUFFIX, Note, Part, Wanted
from tests.inference.models.conftest import QUICK
from tests.inference.models.host import Host, Hosted, open_host

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
PATH = "/model.gguf"


def wanted(host: Host, **known: Any) -> Wanted:
    return replace(Wanted("model.gguf", host.url + PATH), **known)


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def plain_client() -> httpx.AsyncClient:
    """One that has not read the world's certificates, which takes longer than all the rest."""
    return httpx.AsyncClient(verify=False)


async def leave_part(folder: Path, wanted: Wanted, data: bytes, note: Note) -> None:
    """Make what an earlier run would have left."""
    part = await trio.to_thread.run_sync(Part, folder, wanted)
    part.remember(note)
    part.append(data)
    part.close()


async def test_a_whole_file_has_its_name_and_nothing_lies_beside_it(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)
    told: list[tuple[str, int, int | None]] = []

    found = await download(wanted(host), tmp_path, fetcher, progress=lambda *facts: told.append(facts))

    assert (tmp_path / "model.gguf").read_bytes() == DATA
    assert (found.size_bytes, found.sha256) == (len(DATA), SHA256)
    assert left(tmp_path) == {"model.gguf"}
    assert told[-1] == ("model.gguf", len(DATA), len(DATA))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 700), max_size=12),
    ranges=st.booleans(),
    etag=st.sampled_from(['"one"', 'W/"weak"', ""]),
    is_known=st.booleans(),
    attempts=st.integers(1, 4),
)
async def test_wherever_it_is_cut_the_file_is_whole_in_the_end(
    cuts: list[int], ranges: bool, etag: str, is_known: bool, attempts: int
) -> None:
    """Cut at any byte, within one run and between runs, with every kind of validator."""
    data = DATA[:700]
    sha256 = hashlib.sha256(data).hexdigest()
    patience = replace(QUICK, attempts=attempts)
    with TemporaryDirectory() as folder, trio.fail_after(60):
        async with open_host() as host, plain_client() as client:
            fetcher = Fetcher(client, patience=patience)
            host.put(PATH, data, etag=etag, knows_ranges=ranges, cuts=[*cuts])
            found = None
            for _ in range(len(cuts) + 1):
                try:
                    found = await download(
                        wanted(host, sha256=sha256 if is_known else ""), Path(folder), fetcher
                    )
                    break
                except Unavailable:
                    assert cuts

        assert found is not None
        assert await trio.Path(folder, "model.gguf").read_bytes() == data
        assert found.sha256 == sha256


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(kept=st.integers(1, 700), flipped=st.integers(0, 699), at=st.integers(0, 700))
async def test_whatever_an_earlier_run_left_what_is_named_has_the_hash(
    kept: int, flipped: int, at: int
) -> None:
    data = DATA[:700]
    sha256 = hashlib.sha256(data).hexdigest()
    spoilt = bytearray(data)
    spoilt[flipped] ^= 1
    with TemporaryDirectory() as folder, trio.fail_after(60):
        async with open_host() as host, plain_client() as client:
            fetcher = Fetcher(client, patience=QUICK)
            host.put(PATH, data, cuts=[at])
            note = Note(host.url + PATH, '"one"', sha256)
            await leave_part(Path(folder), wanted(host), bytes(spoilt[:kept]), note)

            await download(wanted(host, sha256=sha256), Path(folder), fetcher)

        assert await trio.Path(folder, "model.gguf").read_bytes() == data


HEADERS = ("Content-Length", "Content-Range", "ETag", "X-Linked-Etag", "X-Linked-Size", "Transfer-Encoding",
           "Content-Encoding", "Location")  # fmt: skip
SAID = st.one_of(
    st.sampled_from(
        [f"bytes 0-699/{700}", "bytes 5-699/700", "bytes */700", "chunked", "identity", f'"{SHA256}"']
    ),
    st.from_regex(r"bytes \d{1,4}-\d{1,4}/\d{1,4}", fullmatch=True),
    st.integers(-1, 2000).map(str),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), SAID, max_size=4),
    status=st.sampled_from([0, 0, 0, 100, 204, 206, 301, 304, 400, 416, 429, 503]),
    kept=st.integers(0, 700),
    is_known=st.booleans(),
)
async def test_whatever_a_host_says_it_is_the_file_or_one_of_our_errors(
    headers: dict[str, str], status: int, kept: int, is_known: bool
) -> None:
    data = DATA[:700]
    known = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": 700} if is_known else {}
    with TemporaryDirectory() as folder, trio.fail_after(60):
        async with open_host() as host, plain_client() as client:
            fetcher = Fetcher(client, patience=replace(QUICK, stall_seconds=0.2))
            host.put(PATH, data, headers=headers, status=status, failures=1 if status else 0)
            if kept:
                await leave_part(Path(folder), wanted(host), data[:kept], Note(host.url + PATH, '"one"'))

            try:
                await download(wanted(host, **known), Path(folder), fetcher)
            except (ConfigurationError, RemoteProtocolError, Unavailable):
                assert not await trio.Path(folder, "model.gguf").exists()
            else:
                found = await trio.Path(folder, "model.gguf").read_bytes()
                assert found == data or not is_known


async def test_it_goes_on_where_it_was_and_asks_for_no_byte_twice(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, cuts=[100, 200])

    await download(wanted(host), tmp_path, fetcher)

    assert host.ranges(PATH) == ["", "bytes=100-", "bytes=300-"]
    assert [asked.get("if-range") for _, asked in host.asked] == [None, '"one"', '"one"']


async def test_a_cancel_leaves_what_came(host: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    hosted = host.put(PATH, DATA, stalls_after=5_000)
    path = tmp_path / "model.gguf.part"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(download, wanted(host), tmp_path, fetcher)
            await hosted.fell_silent.wait()
            nursery.cancel_scope.cancel()

    # What had not reached us when we were cancelled is asked for again.
    size = path.stat().st_size if path.exists() else 0
    await download(wanted(host), tmp_path, fetcher)

    assert host.ranges(PATH)[1] == (f"bytes={size}-" if size else "")
    assert (tmp_path / "model.gguf").read_bytes() == DATA


async def test_a_host_that_falls_silent_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.put(PATH, DATA, stalls_after=5_000)

    with trio.fail_after(60):
        async with open_fetcher(patience=replace(QUICK, stall_seconds=1.5)) as fetcher:
            await download(wanted(host), tmp_path, fetcher)

    assert host.ranges(PATH) == ["", "bytes=5000-"]


async def test_a_file_that_changes_in_the_middle_is_the_new_one_in_the_end(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    def publish(hosted: Hosted) -> None:
        hosted.data, hosted.etag, hosted.change = b"new" * 100, '"two"', None

    host.put(PATH, DATA, cuts=[400], change=publish)

    await download(wanted(host), tmp_path, fetcher)

    assert (tmp_path / "model.gguf").read_bytes() == b"new" * 100


async def test_where_nothing_tells_two_files_apart_it_begins_anew(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    """No hash, no strong etag, and a file of the same size in its place."""

    def publish(hosted: Hosted) -> None:
        hosted.data, hosted.change = bytes(len(DATA)), None

    host.put(PATH, DATA, cuts=[400], etag='W/"weak"', change=publish)

    await download(wanted(host), tmp_path, fetcher)

    assert (tmp_path / "model.gguf").read_bytes() == bytes(len(DATA))


async def test_a_piece_without_an_etag_keeps_the_one_that_was_said(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    def forget(hosted: Hosted) -> None:
        hosted.headers = {"ETag": ""}

    host.put(PATH, DATA, cuts=[400, 100], change=forget)

    await download(wanted(host), tmp_path, fetcher)

    assert [asked.get("if-range") for _, asked in host.asked] == [None, '"one"', '"one"']


async def test_a_host_that_heeds_if_range_wrongly_is_not_believed(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    """It sends the rest of another file: the etag of the piece gives it away."""

    def publish(hosted: Hosted) -> None:
        hosted.data, hosted.headers, hosted.change = bytes(len(DATA)), {"ETag": '"two"'}, None

    host.put(PATH, DATA, cuts=[400], change=publish)

    await download(wanted(host), tmp_path, fetcher)

    assert (tmp_path / "model.gguf").read_bytes() == bytes(len(DATA))


async def test_other_bytes_than_were_asked_for_get_no_name(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)

    with pytest.raises(RemoteProtocolError, match=f"not the one that was asked for .*found={SHA256}"):
        await download(wanted(host, sha256=OTHER), tmp_path, fetcher)

    assert left(tmp_path) == set()


async def test_the_hash_that_the_host_says_is_checked(host: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    host.put(PATH, DATA, headers={"X-Linked-Etag": f'"{OTHER}"'})

    with pytest.raises(RemoteProtocolError, match=f"expected={OTHER}"):
        await download(wanted(host), tmp_path, fetcher)


async def test_a_hash_that_the_host_contradicts_ends_it_before_a_byte_is_written(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, headers={"X-Linked-Etag": f'"{OTHER}"'})

    with pytest.raises(RemoteProtocolError, match=f"there={OTHER}"):
        await download(wanted(host, sha256=SHA256), tmp_path, fetcher)

    assert left(tmp_path) == set()


async def test_a_small_file_is_held_against_gits_name_for_it(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, b"hello\n")
    git_hello = "ce013625030ba8dba906f756967f9e9ca394464a"

    await download(wanted(host, git_blob=git_hello), tmp_path, fetcher)
    with pytest.raises(RemoteProtocolError, match="expected_git_blob="):
        await download(wanted(host, git_blob="0" * 40), tmp_path, fetcher)


@pytest.mark.parametrize("said", [len(DATA) - 1, len(DATA) + 1])
async def test_another_size_than_was_known_is_refused_before_a_byte_is_written(
    said: int, host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)

    with pytest.raises(RemoteProtocolError, match=f"expected={said} there={len(DATA)}"):
        await download(wanted(host, size_bytes=said), tmp_path, fetcher)

    assert left(tmp_path) == set()


async def test_a_host_that_says_more_than_it_has_is_given_up(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, headers={"Content-Length": str(len(DATA) + 5)}, knows_ranges=False)

    with pytest.raises(Unavailable, match="3 times in a row: the connection was cut"):
        await download(wanted(host), tmp_path, fetcher)


async def test_a_host_that_sends_more_than_it_said_is_refused(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, headers={"Content-Length": "", "X-Linked-Size": "500"})

    with pytest.raises(RemoteProtocolError, match=r"sends more than it said .*said=500 bytes"):
        await download(wanted(host), tmp_path, fetcher)

    assert left(tmp_path) == set()


async def test_bytes_behind_the_said_length_are_not_of_the_file(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, extra=b"more")

    await download(wanted(host), tmp_path, fetcher)

    assert (tmp_path / "model.gguf").read_bytes() == DATA


@pytest.mark.parametrize("said", ["", "many", "9" * 30, "-1", "1e3"])
async def test_a_size_that_is_not_said_or_absurd_is_refused(
    said: str, host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA, headers={"Content-Length": "", "X-Linked-Size": said})

    with pytest.raises(RemoteProtocolError, match="does not say how large"):
        await download(wanted(host), tmp_path, fetcher)


async def test_an_empty_file_is_no_model(host: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    host.put(PATH, b"")

    with pytest.raises(RemoteProtocolError, match="empty"):
        await download(wanted(host), tmp_path, fetcher)


@pytest.mark.parametrize(
    "said",
    [f"bytes 50-{len(DATA) - 1}/{len(DATA)}", "bytes 100-99/100", "bytes */5", "", "x"],
)
async def test_another_piece_than_was_asked_for_is_refused(
    said: str, host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    def lie(hosted: Hosted) -> None:
        hosted.headers = {"Content-Range": said}

    host.put(PATH, DATA, cuts=[100], change=lie, headers={"X-Linked-Size": ""})

    with pytest.raises((RemoteProtocolError, Unavailable), match=r"piece|file changed"):
        await download(wanted(host), tmp_path, fetcher)

    assert not (tmp_path / "model.gguf").exists()


async def test_a_piece_from_behind_the_end_is_refused(host: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    host.put(PATH, DATA, headers={"Content-Range": "bytes 100-200/150"})
    await leave_part(tmp_path, wanted(host), DATA[:100], Note(host.url + PATH, '"one"', ""))

    with pytest.raises(RemoteProtocolError, match="from behind the end"):
        await download(wanted(host), tmp_path, fetcher)


async def test_a_disk_that_takes_no_more_is_said_and_what_came_stays(
    host: Host, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an empty disk it looked large enough."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host.put(PATH, DATA, cuts=[100, None])
    part = await trio.to_thread.run_sync(Part, tmp_path, wanted(host))
    part.close()
    monkeypatch.setattr(parts.os, "pwrite", refuse)

    with pytest.raises(Unavailable, match=r"cannot write .*No space left"):
        await download(wanted(host), tmp_path, fetcher)

    monkeypatch.undo()
    await download(wanted(host), tmp_path, fetcher)


async def test_a_part_that_is_all_there_is_finished_without_its_bytes(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    """Its size was not kept, only its bytes: the host says that there is nothing more (416)."""
    host.put(PATH, DATA)
    await leave_part(tmp_path, wanted(host), DATA, Note(host.url + PATH, '"one"', ""))

    found = await download(wanted(host), tmp_path, fetcher)

    assert found.size_bytes == len(DATA)
    assert host.ranges(PATH) == [f"bytes={len(DATA)}-"]


async def test_a_part_that_is_longer_than_the_file_is_thrown_away(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)
    await leave_part(tmp_path, wanted(host), DATA + b"x", Note(host.url + PATH, '"one"', ""))

    await download(wanted(host), tmp_path, fetcher)

    assert (tmp_path / "model.gguf").read_bytes() == DATA


@pytest.mark.parametrize("note", [Note(), Note("http://elsewhere/", '"one"'), Note("", "", OTHER)])
async def test_a_part_of_another_file_is_thrown_away(
    note: Note, host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)
    await leave_part(tmp_path, wanted(host), b"other bytes", note)

    await download(wanted(host, sha256=SHA256), tmp_path, fetcher)

    assert host.ranges(PATH) == [""]


async def test_what_is_written_at_once_is_all_that_a_kill_can_cost(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    data = bytes(3 * WRITTEN_AT_ONCE_BYTES)
    host.put(PATH, data)
    told: list[int] = []

    await download(wanted(host), tmp_path, fetcher, progress=lambda _, done, __: told.append(done))

    assert len(told) >= 3
    assert max(after - before for before, after in pairwise(told)) < 2 * WRITTEN_AT_ONCE_BYTES


async def test_a_disk_without_room_is_named_before_a_byte_is_written(
    host: Host, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.put(PATH, DATA)
    usage = type("Usage", (), {"free": parts.SPARE_BYTES + len(DATA) - 1})
    monkeypatch.setattr(parts.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(Unavailable, match="not enough room"):
        await download(wanted(host), tmp_path, fetcher)

    assert left(tmp_path) == set()


async def test_a_link_in_the_parts_place_is_not_followed(
    host: Host, fetcher: Fetcher, tmp_path: Path
) -> None:
    host.put(PATH, DATA)
    (tmp_path / f"model.gguf{SUFFIX}").symlink_to(tmp_path / "precious")

    with pytest.raises(ConfigurationError, match="cannot write"):
        await download(wanted(host), tmp_path, fetcher)

    assert not (tmp_path / "precious").exists()
