"""Reading the head of a GGUF file, whatever the file is."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.gguf import read_gguf

HEAD_SIZE_BYTES = 64 * 1024
"Somewhat more than the demo model's head."


def test_the_demo_model_says_what_it_is() -> None:
    head = read_gguf(demo_model())

    assert (head.architecture, head.text("general.name"), head.context_tokens) == (
        "llama",
        "cocoon-demo",
        2048,
    )
    assert head.token_size_max_bytes == 22
    assert (head.bos, head.eos) == ("<|endoftext|>", "<|im_end|>")
    assert head.chat_template.startswith("{% for m in messages %}<|im_start|>")


def test_the_tokenizer_s_hash_changes_with_its_template_and_not_with_the_model_s_name(
    demo_with: Callable[[bytes, bytes], Path],
) -> None:
    before = read_gguf(demo_model()).tokenizer_hash

    renamed = read_gguf(demo_with(b"cocoon-demo", b"cocoon-DEMO")).tokenizer_hash
    other_template = read_gguf(
        demo_with(b"{% for m in messages %}", b"{% for m in messages%} ")
    ).tokenizer_hash

    assert before == renamed != other_template


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello", "not a GGUF file"),
        (b"GGUF", "ends inside its own head"),
        (b"GGUF\x63\0\0\0" + bytes(16), "GGUF version 99"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "absurd head .*entries="),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\x05" + bytes(7), "ends inside its own head"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_do(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=words) as caught:
        read_gguf(file)

    assert str(file) in str(caught.value)
    assert caught.value.hint


def test_a_head_as_large_as_a_disk_is_not_read(tmp_path: Path) -> None:
    """One string of many gigabytes, of which the file has all."""
    file = tmp_path / "model.gguf"
    entry = b"\x01" + bytes(7) + b"k" + b"\x08\0\0\0" + (1 << 40).to_bytes(8, "little")
    file.write_bytes(b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + entry)
    os.truncate(file, 2 << 40)

    with pytest.raises(ConfigurationError, match="absurd head"):
        read_gguf(file)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such model file"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_gguf(tmp_path)


def test_a_download_that_broke_off_is_found_without_the_engine(demo_cut: Callable[[int], Path]) -> None:
    with pytest.raises(ConfigurationError, match="shorter than it says"):
        read_gguf(demo_cut(demo_model().stat().st_size // 2))


@given(
    st.integers(0, HEAD_SIZE_BYTES),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=4),
)
def test_a_file_that_is_cut_or_altered_anywhere_is_read_or_refused_and_nothing_else(
    size: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(demo_model().read_bytes()[:size])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.gguf")
        file.write_bytes(data)

        with pytest.raises(ConfigurationError):
            read_gguf(file)
