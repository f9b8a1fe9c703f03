"""One file, from hosts that cut, stall and lie."""

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.inference.models.download import download
from cocoon_p2p.inference.models.fetching import Fetcher, open_fetcher
from cocoon_p2p.inference.models.part import Wanted
from tests.inference.models.conftest import QUICK
from tests.inference.models.host import Host, open_host

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = "/model.gguf"


def wanted(host: Host, **known: object) -> Wanted:
    return replace(Wanted("model.gguf", host.url + PATH), **known)  # type: ignore[arg-type]


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


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


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 700), max_size=12),
    ranges=st.booleans(),
    etag=st.sampled_from(['"one"', 'W/"weak"', ""]),
    is_known=st.booleans(),
)
@pytest.mark.slow
async def test_wherever_it_is_cut_the_file_is_whole_in_the_end(
    cuts: list[int], ranges: bool, etag: str, is_known: bool
) -> None:
    """Cut at any byte, by the host or by the end of this process, with every kind of validator."""
    data = DATA[:700]
    sha256 = hashlib.sha256(data).hexdigest()
    with TemporaryDirectory() as folder, trio.fail_after(60):
        async with open_host() as host, open_fetcher(patience=replace(QUICK, attempts=1)) as fetcher:
            hosted = host.put(PATH, data, etag=etag, knows_ranges=ranges)
            for cut in [*cuts, None]:
                hosted.cuts = [cut]
                try:
                    found = await download(
                        wanted(host, sha256=sha256 if is_known else ""), Path(folder), fetcher
                    )
                except Unavailable:
                    assert cut is not None

        assert await trio.Path(folder, "model.gguf").read_bytes() == data
        assert found.sha256 == sha256
