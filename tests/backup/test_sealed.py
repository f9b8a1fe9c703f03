"""A sealed stream is read as it was written, or not at all."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.backup.sealed import CHUNK_BYTES, EFFORT_MAX, MAGIC, Effort, OpeningReader, SealingWriter
from cocoon_p2p.errors import ConfigurationError

CHEAP = Effort(1, 8 * 1024)
"The least that libsodium takes."

PREFIX_BYTES = len(MAGIC) + 4 + 8 + 16 + 24
MEMORY_BYTE = len(MAGIC) + 11
SIZES = st.sampled_from([0, 1, 17, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000])


def seal(*pieces: bytes, passphrase: str = "correct horse") -> bytes:
    out = io.BytesIO()
    sealing = SealingWriter(out, passphrase, CHEAP)
    for piece in pieces:
        sealing.write(piece)
    sealing.finish()
    return out.getvalue()


def opened(sealed: bytes, count: int, passphrase: str = "correct horse") -> bytes:
    reader = OpeningReader(io.BytesIO(sealed), passphrase)
    data = reader.read(count)
    reader.finish()
    return data


@given(sizes=st.lists(SIZES, max_size=4))
def test_what_was_sealed_in_whatever_pieces_is_read_again(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]

    assert opened(seal(*pieces), sum(sizes)) == b"".join(pieces)


@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_with_one_byte_altered_anywhere_it_does_not_open(place: int, flip: int) -> None:
    sealed = bytearray(seal(b"money" * 20_000))
    place %= len(sealed)
    # Of the memory only the last byte: others could ask for half a gigabyte, and get it.
    place = MEMORY_BYTE if len(MAGIC) + 4 <= place < MEMORY_BYTE else place
    sealed[place] ^= flip

    with pytest.raises(ConfigurationError):
        opened(bytes(sealed), 100_000)


@given(length=st.integers(0, 10**6))
def test_cut_anywhere_it_does_not_open(length: int) -> None:
    sealed = seal(b"money" * 30_000)

    with pytest.raises(ConfigurationError):
        opened(sealed[: length % len(sealed)], 150_000)


def test_cut_between_two_chunks_it_does_not_open() -> None:
    sealed = seal(bytes(3 * CHUNK_BYTES))
    cut = sealed[: PREFIX_BYTES + 2 * (CHUNK_BYTES + 17)]

    with pytest.raises(ConfigurationError):
        opened(cut, 2 * CHUNK_BYTES)


def test_with_something_behind_its_end_it_does_not_open() -> None:
    with pytest.raises(ConfigurationError):
        opened(seal(b"money") + b"x", 5)
    with pytest.raises(ConfigurationError, match="more than it says"):
        opened(seal(b"money and more"), 5)


def test_chunks_of_two_backups_are_not_one_backup() -> None:
    one, other = seal(bytes(2 * CHUNK_BYTES)), seal(bytes(2 * CHUNK_BYTES))
    middle = PREFIX_BYTES + CHUNK_BYTES + 17

    with pytest.raises(ConfigurationError):
        opened(one[:middle] + other[middle:], 2 * CHUNK_BYTES)


def test_another_passphrase_does_not_open_it_and_says_so() -> None:
    with pytest.raises(ConfigurationError, match="the passphrase is wrong"):
        opened(seal(b"money"), 5, passphrase="wrong horse")


def test_a_passphrase_is_the_same_however_its_letters_are_spelled() -> None:
    assert opened(seal(b"money", passphrase="Gru\u0308n"), 5, passphrase="Gr\u00fcn") == b"money"


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="locks nothing"):
        seal(b"money", passphrase="")


def test_a_passphrase_that_is_no_text_is_said_to_be_none() -> None:
    with pytest.raises(ConfigurationError, match="no text"):
        seal(b"money", passphrase="horse\udcff")
    with pytest.raises(ConfigurationError, match="no text"):
        opened(seal(b"money"), 5, passphrase="horse\udcff")


def test_a_file_that_asks_for_endless_effort_is_refused_before_any_is_made() -> None:
    sealed = bytearray(seal(b"money"))
    sealed[len(MAGIC) + 4 : len(MAGIC) + 12] = (EFFORT_MAX.memory_bytes + 1).to_bytes(8, "big")

    with pytest.raises(ConfigurationError, match="more memory or time"):
        OpeningReader(io.BytesIO(bytes(sealed)), "correct horse")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a backup"),
        (b"PK\3\4" + bytes(200), "not a backup"),
        (b"cocoon backup 2\n", "another version"),
        (MAGIC + bytes(40), "cut or altered"),
    ],
)
def test_what_is_no_backup_of_this_form_is_told_from_one_that_was_altered(data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        OpeningReader(io.BytesIO(data), "correct horse")
