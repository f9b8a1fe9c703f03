"""A wallet's file: its 24 words, plain or locked with a passphrase, for its owner's eyes alone.

    {"version": 1, "network": "testnet", "address": "0Q...", "words": "..."}
    {"version": 1, "network": "testnet", "address": "0Q...",
     "locked": {"operations": 3, "memory_bytes": 268435456, "salt": "...", "box": "..."}}

Locked: Argon2id makes a key of the passphrase, and XSalsa20-Poly1305 (NaCl's secretbox) seals the words
with it. `salt` and `box` are hexadecimal. The address is there to be shown without a passphrase; it is
compared with what words and network give as soon as the words are read.

No error, `repr` or log has the words, the passphrase or the key in it.
"""

import fcntl
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.address import GLOBAL_IDS
from cocoon_p2p.payments.wallet import Wallet, WalletKey
from cocoon_p2p.payments.wallet.mnemonic import key_from_words

VERSION = 1


@dataclass(frozen=True, slots=True)
class Effort:
    """What every guess at a passphrase costs."""

    operations: int
    memory_bytes: int


MODERATE = Effort(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"About a second, and 256 MiB."

_EFFORT_MAX = Effort(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)


class _Locked(msgspec.Struct, forbid_unknown_fields=True):
    operations: int
    memory_bytes: int
    salt: str
    box: str


class _Content(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    version: int
    network: str
    address: str
    words: str | None = None
    locked: _Locked | None = None

    def __repr__(self) -> str:
        return f"_Content({self.network!r}, {self.address!r})"


@dataclass(frozen=True, slots=True)
class WalletFile:
    """What a wallet's file says, its secret not yet looked at."""

    path: Path
    network: str
    "`mainnet`, `testnet` or `local`."

    address: str
    "As the file says. It is compared with the words when the wallet is opened."

    _content: _Content = field(repr=False)

    @property
    def global_id(self) -> int:
        return GLOBAL_IDS[self.network]

    @property
    def is_locked(self) -> bool:
        """Whether a passphrase is needed."""
        return self._content.locked is not None

    def open(self, passphrase: str | None = None) -> WalletKey:
        """Give the wallet's key. Takes about a second if it is locked.

        Raises:
            ConfigurationError: The passphrase is missing or wrong, or the file was altered.
        """
        return self._read(passphrase)[1]

    def words(self, passphrase: str | None = None) -> tuple[str, ...]:
        """Give the 24 words, for their owner to write down. Raises as `open`."""
        return self._read(passphrase)[0]

    def _read(self, passphrase: str | None) -> tuple[tuple[str, ...], WalletKey]:
        if self._content.locked is None:
            text = self._content.words or ""
        else:
            text = self._unlocked(self._content.locked, passphrase)
        words = tuple(text.split())
        key = key_from_words(words)
        if Wallet(key.public_key, self.global_id).address_text() != self.address:
            raise _damaged(self.path, "the address is not that of the words")
        return words, key

    def _unlocked(self, locked: _Locked, passphrase: str | None) -> str:
        if passphrase is None:
            raise ConfigurationError(
                f"{self.path} is locked with a passphrase", hint="give it with --passphrase-file, or type it"
            )
        try:
            salt, sealed = bytes.fromhex(locked.salt), bytes.fromhex(locked.box)
            effort = Effort(locked.operations, locked.memory_bytes)
            if effort.operations > _EFFORT_MAX.operations or effort.memory_bytes > _EFFORT_MAX.memory_bytes:
                raise ValueError
            box = _box(passphrase, salt, effort)
        except (ValueError, CryptoError):
            raise _damaged(self.path, "its lock makes no sense") from None
        try:
            return box.decrypt(sealed).decode()
        except (CryptoError, ValueError):
            raise ConfigurationError(
                f"{self.path}: the passphrase is wrong, or the file was altered",
                hint="try again; without the passphrase only the 24 words can restore this wallet",
            ) from None


def create(
    path: Path,
    words: Sequence[str],
    network: str,
    *,
    passphrase: str | None = None,
    effort: Effort = MODERATE,
) -> WalletFile:
    """Write a new wallet's file. It is on disk on return; one that is there is left as it is.

    Args:
        path: Where.
        words: The 24.
        network: `mainnet`, `testnet` or `local`.
        passphrase: What to lock it with; None: it is plain.
        effort: What every guess at the passphrase costs.

    Raises:
        ConfigurationError: The words are no wallet's, the passphrase is empty, there is a file already, or
            none can be made.
    """
    key = key_from_words(words)
    address = Wallet(key.public_key, GLOBAL_IDS[network]).address_text()
    content = _Content(VERSION, network, address)
    if passphrase is None:
        content.words = " ".join(words)
    else:
        content.locked = _lock(" ".join(words), passphrase, effort)
    private_files.create(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    return WalletFile(path, network, address, content)


def read(path: Path) -> WalletFile:
    """Read a wallet's file, but for its secret.

    Raises:
        ConfigurationError: There is none, others can read it, or it is no wallet's.
    """
    try:
        content = msgspec.json.decode(private_files.read(path), type=_Content)
    except FileNotFoundError:
        raise ConfigurationError(f"no wallet at {path}", hint=f"make one: cocoon wallet new {path}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # What the decoder says may quote the file.
        raise _damaged(path, "not a wallet's") from None
    if content.version != VERSION:
        raise ConfigurationError(
            f"{path} was written by another version of cocoon (version={content.version} known={VERSION})"
        )
    if content.network not in GLOBAL_IDS or (content.words is None) == (content.locked is None):
        raise _damaged(path, "not a wallet's")
    return WalletFile(path, content.network, content.address, content)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only one to spend from a wallet while the block runs. A crash lets go of it.

    Raises:
        ConfigurationError: Another process holds it, or there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise ConfigurationError(f"cannot use {path}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"the wallet is in use by another process (file={path})",
                hint="wait until that process is done, or stop it",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _lock(secret: str, passphrase: str, effort: Effort) -> _Locked:
    if not passphrase:
        raise ConfigurationError("an empty passphrase locks nothing", hint="choose one, or leave it out")
    salt = os.urandom(argon2id.SALTBYTES)
    sealed = bytes(_box(passphrase, salt, effort).encrypt(secret.encode()))
    return _Locked(effort.operations, effort.memory_bytes, salt.hex(), sealed.hex())


def _box(passphrase: str, salt: bytes, effort: Effort) -> SecretBox:
    # The same letters can be spelled in several ways, and keyboards do.
    spelled = unicodedata.normalize("NFKC", passphrase).encode()
    return SecretBox(
        argon2id.kdf(
            SecretBox.KEY_SIZE,
            spelled,
            salt,
            opslimit=effort.operations,
            memlimit=effort.memory_bytes,
        )
    )


def _damaged(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged: {why}",
        hint="restore it from a backup, or from the 24 words: cocoon wallet restore",
    )
