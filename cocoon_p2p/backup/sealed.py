r"""A stream of bytes sealed with a passphrase: read to its end, or not at all.

    magic        16 bytes   "cocoon backup 1\n"; another form of the file has another number
    operations    4 bytes   what every guess at the passphrase costs: Argon2id's passes,
    memory        8 bytes   and its memory in bytes
    salt         16 bytes
    stream       24 bytes   the header of libsodium's secretstream (XChaCha20-Poly1305)
    chunks                  each 64 KiB and 17 bytes; the last, which may be shorter, is marked final

Integers are big-endian. The key is Argon2id of the passphrase (Unicode NFKC, UTF-8), the salt and the effort.
All that stands before the chunks is bound to the first of them. A file that was cut, lengthened, reordered or
altered anywhere does not open.

Source: libsodium, "Encrypted streams and file encryption" and "Password hashing".
"""

import os
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from cocoon_p2p.errors import ConfigurationError

MAGIC = b"cocoon backup 1\n"
CHUNK_BYTES = 64 * 1024

_PREFIX = struct.Struct(f">{len(MAGIC)}sIQ{argon2id.SALTBYTES}s")
_HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_SEAL_BYTES = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_MORE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL


@dataclass(frozen=True, slots=True)
class Effort:
    """What every guess at a passphrase costs."""

    operations: int
    memory_bytes: int


MODERATE = Effort(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"About a second, and 256 MiB."

EFFORT_MAX = Effort(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)
"1 GiB. A file that asks for more is not one of ours, and would only exhaust who reads it."


class SealingWriter:
    """Seals what is written to it into a file. Without `finish` the file does not open."""

    def __init__(self, out: BinaryIO, passphrase: str, effort: Effort = MODERATE) -> None:
        """Begin the file. Takes about a second.

        Raises:
            ConfigurationError: The passphrase is empty.
        """
        if not passphrase:
            raise ConfigurationError("an empty passphrase locks nothing", hint="choose one")
        salt = os.urandom(argon2id.SALTBYTES)
        prefix = _PREFIX.pack(MAGIC, effort.operations, effort.memory_bytes, salt)
        self._out = out
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        header = bindings.crypto_secretstream_xchacha20poly1305_init_push(
            self._state, _key(passphrase, salt, effort)
        )
        self._bound: bytes | None = prefix + header
        self._waiting = bytearray()
        out.write(self._bound)

    def write(self, data: bytes) -> None:
        """Add to what is sealed."""
        self._waiting += data
        # What is last is not known yet: it is held back until more comes.
        while len(self._waiting) > CHUNK_BYTES:
            self._push(bytes(self._waiting[:CHUNK_BYTES]), _MORE)
            del self._waiting[:CHUNK_BYTES]

    def finish(self) -> None:
        """Seal the rest, and say that it is the end."""
        self._push(bytes(self._waiting), _FINAL)
        self._waiting.clear()

    def _push(self, plain: bytes, tag: int) -> None:
        self._out.write(
            bindings.crypto_secretstream_xchacha20poly1305_push(self._state, plain, self._bound, tag)
        )
        self._bound = None


class OpeningReader:
    """Reads what a `SealingWriter` sealed, a chunk at a time; what is given was not altered.

    That nothing is missing at the end is known once `finish` returns.
    """

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        """Read the beginning. Takes about a second.

        Raises:
            ConfigurationError: It is no backup, or one of another form.
        """
        prefix, header = source.read(_PREFIX.size), source.read(_HEADER_BYTES)
        if not prefix.startswith(MAGIC):
            raise _no_backup(prefix)
        if len(header) != _HEADER_BYTES:
            raise _cut()
        _, operations, memory_bytes, salt = _PREFIX.unpack(prefix)
        if operations > EFFORT_MAX.operations or memory_bytes > EFFORT_MAX.memory_bytes:
            raise ConfigurationError("the backup asks for more memory or time than any of ours does")
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        try:
            key = _key(passphrase, salt, Effort(operations, memory_bytes))
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)
        except (CryptoError, ValueError):
            raise ConfigurationError("the backup's lock makes no sense: it was altered") from None
        self._bound: bytes | None = prefix + header
        self._chunks = self._open(source)
        self._waiting = bytearray()

    def read(self, count: int) -> bytes:
        """Give exactly so many bytes.

        Raises:
            ConfigurationError: The passphrase is wrong, the file was altered, or it ends before.
        """
        while len(self._waiting) < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ConfigurationError("the backup holds less than it says")
            self._waiting += chunk
        data = bytes(self._waiting[:count])
        del self._waiting[:count]
        return data

    def finish(self) -> None:
        """See that all was read, and that this is the end that was sealed.

        Raises:
            ConfigurationError: There is more, or the file was cut.
        """
        if self._waiting or any(self._chunks):
            raise ConfigurationError("the backup holds more than it says")

    def _open(self, source: BinaryIO) -> Iterator[bytes]:
        tag = _MORE
        while tag == _MORE:
            sealed = source.read(CHUNK_BYTES + _SEAL_BYTES)
            try:
                plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(
                    self._state, sealed, self._bound
                )
            except (CryptoError, ValueError):
                raise _cut() if self._bound is None else _not_opened() from None
            self._bound = None
            yield plain
        if tag != _FINAL or source.read(1):
            raise ConfigurationError("the backup does not end where it should: it was altered")


def _key(passphrase: str, salt: bytes, effort: Effort) -> bytes:
    # The same letters can be spelled in several ways, and keyboards do.
    try:
        spelled = unicodedata.normalize("NFKC", passphrase).encode()
    except UnicodeEncodeError:
        raise ConfigurationError("the passphrase is no text", hint="set the terminal to UTF-8") from None
    return argon2id.kdf(
        bindings.crypto_secretstream_xchacha20poly1305_KEYBYTES,
        spelled,
        salt,
        opslimit=effort.operations,
        memlimit=effort.memory_bytes,
    )


def _cut() -> ConfigurationError:
    return ConfigurationError("the backup was cut or altered", hint="take another copy of it")


def _not_opened() -> ConfigurationError:
    return ConfigurationError(
        "the passphrase is wrong, or the backup was altered", hint="try again, or take another copy of it"
    )


def _no_backup(prefix: bytes) -> ConfigurationError:
    if prefix.startswith(MAGIC.rstrip(b"1\n")):
        return ConfigurationError(
            "the backup was written by another version of cocoon",
            hint="restore it with that version, or a newer one",
        )
    return ConfigurationError("not a backup", hint="name a file that `cocoon backup` has written")
