"""The 24 words that a wallet's key is made of, as TON's wallets write and read them.

Not BIP-39: the list of words is the same, the arithmetic and the check are TON's own. Words with a
password on top are not read.

The library that knows the words takes 0.1 s to load, so it is loaded when words are.
"""

from collections.abc import Sequence

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.wallet import WalletKey

WORDS = 24


def new_words() -> tuple[str, ...]:
    """Draw 24 words from the system's random source. Takes about 0.1 s."""
    from pytoniq_core.crypto.keys import mnemonic_new

    return tuple(mnemonic_new(WORDS))


def key_from_words(words: Sequence[str]) -> WalletKey:
    """Derive the key. Takes about 0.1 s, as is meant.

    Raises:
        ConfigurationError: There are not 24, one is none of the list's, or together they are no wallet's. The
            text does not repeat them.
    """
    from pytoniq_core.crypto import keys

    if len(words) != WORDS:
        raise ConfigurationError(f"a wallet has {WORDS} words (words={len(words)})")
    unknown = [str(number) for number, word in enumerate(words, 1) if word not in _known()]
    if unknown:
        raise ConfigurationError(
            f"not among the words that wallets are made of: word {', '.join(unknown)} of {WORDS}",
            hint="check the spelling; write the words in small letters, in order",
        )
    if not keys.mnemonic_is_valid(list(words)):
        raise ConfigurationError(
            "the words are no wallet's: one is wrong, or they are out of order",
            hint="words that need a password on top, or a hardware wallet's, are not read",
        )
    _, secret = keys.mnemonic_to_private_key(list(words))
    return WalletKey(secret)


def _known() -> frozenset[str]:
    from pytoniq_core.crypto.keys import words

    return frozenset(words)
