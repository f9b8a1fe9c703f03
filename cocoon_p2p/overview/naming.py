"""Which channel a person means: by the first digits of its id, its contract's address, or who is paid.

Pure: what there is to choose from is an argument.
"""

import re
from collections.abc import Collection, Iterable

from cocoon_p2p.errors import ConfigurationError, RecordRejected
from cocoon_p2p.identity import PeerId, parse_peer_id
from cocoon_p2p.payments.address import MAINNET_ID, parse_address
from cocoon_p2p.protocols.messages import ChannelId

_HEX = re.compile(r"[0-9a-fA-F]{1,64}")
_ADDRESS = re.compile(r"-?\d{1,3}:.*|[A-Za-z0-9_+/-]{48}")

_PEER_START = "12D3Koo"
"Every Ed25519 key's peer id begins so: no hexadecimal digits, and no address."

_SHOWN_LETTERS = 64
_SHOWN = 4
"Of the channels that a prefix may mean, so many are named."


def is_peer(text: str) -> bool:
    """Whether a text is meant as a peer's id, and not as a channel."""
    return text.startswith(_PEER_START)


def read_peer(text: str) -> PeerId:
    """Read a peer id that a person wrote.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return parse_peer_id(text)
    except RecordRejected:
        raise ConfigurationError(
            f"not a peer id: {text[:_SHOWN_LETTERS]!r}", hint="copy it again, whole: 52 letters and digits"
        ) from None


def named(text: str, channels: Iterable[ChannelId]) -> ChannelId:
    """Find the one channel that is meant.

    Args:
        text: The first digits of its id, or its contract's address in any spelling.
        channels: Those that there are; one may come more than once.

    Raises:
        ConfigurationError: There is none such, or there are several, or the text is neither.
    """
    wanted = _digits(text)
    found = sorted({channel for channel in channels if channel.hex().startswith(wanted)})
    if len(found) > 1:
        raise ConfigurationError(
            f"several channels begin with {text!r} ({_listed(found)})", hint="give more digits of the id"
        )
    if not found:
        raise ConfigurationError(f"no channel {text!r}", hint="see `cocoon channels list`")
    return found[0]


def _digits(text: str) -> str:
    if _HEX.fullmatch(text):
        return text.lower()
    if _ADDRESS.fullmatch(text):
        # Which network an address is spelled for does not matter here: nothing is sent by it.
        return parse_address(text, global_id=MAINNET_ID - 1).account.hex()
    raise ConfigurationError(
        f"not a channel: {text[:_SHOWN_LETTERS]!r}",
        hint="give the first digits of its id, or its contract's address",
    )


def _listed(found: Collection[ChannelId]) -> str:
    shown = [channel.hex()[:16] for channel in found][:_SHOWN]
    return " ".join((*shown, "...")) if len(found) > _SHOWN else " ".join(shown)
