"""Private AI inference, bought by the request from an open peer-to-peer network.

    async with cocoon_p2p.Client.open(...) as client:
        async with client.chat("demo", messages, max_cost=30_000) as answer:
            async for piece in answer:
                print(piece.text, end="")

What is named here is the library's public face; `cocoon_p2p.testing` is the test kit. The rest
of the package may change between versions. Names are imported when they are first used, so that
`import cocoon_p2p` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cocoon_p2p.client import Answer as Answer
    from cocoon_p2p.client import Client as Client
    from cocoon_p2p.client import Embeddings as Embeddings
    from cocoon_p2p.client import Offered as Offered
    from cocoon_p2p.client import Piece as Piece
    from cocoon_p2p.client import Policy as Policy
    from cocoon_p2p.client import PriceQuote as PriceQuote
    from cocoon_p2p.errors import AnswerBroken as AnswerBroken
    from cocoon_p2p.errors import AttestationFailed as AttestationFailed
    from cocoon_p2p.errors import CocoonError as CocoonError
    from cocoon_p2p.errors import ConfigurationError as ConfigurationError
    from cocoon_p2p.errors import LocalProtocolError as LocalProtocolError
    from cocoon_p2p.errors import MalformedMessage as MalformedMessage
    from cocoon_p2p.errors import RecordRejected as RecordRejected
    from cocoon_p2p.errors import Refused as Refused
    from cocoon_p2p.errors import RemoteProtocolError as RemoteProtocolError
    from cocoon_p2p.errors import SealBroken as SealBroken
    from cocoon_p2p.errors import Unavailable as Unavailable
    from cocoon_p2p.errors import VoucherRejected as VoucherRejected
    from cocoon_p2p.identity import Identity as Identity
    from cocoon_p2p.identity import NetworkId as NetworkId
    from cocoon_p2p.identity import PeerId as PeerId
    from cocoon_p2p.identity import network_id as network_id
    from cocoon_p2p.identity import parse_peer_id as parse_peer_id
    from cocoon_p2p.identity import peer_id_text as peer_id_text
    from cocoon_p2p.protocols.ids import Trust as Trust
    from cocoon_p2p.protocols.wishes import ToolCall as ToolCall
    from cocoon_p2p.units import Nano as Nano
    from cocoon_p2p.units import format_ton as format_ton
    from cocoon_p2p.units import parse_ton as parse_ton

_ROOMS = {
    "client": ("Answer", "Client", "Embeddings", "Offered", "Piece", "Policy", "PriceQuote"),
    "errors": (
        "AnswerBroken",
        "AttestationFailed",
        "CocoonError",
        "ConfigurationError",
        "LocalProtocolError",
        "MalformedMessage",
        "RecordRejected",
        "Refused",
        "RemoteProtocolError",
        "SealBroken",
        "Unavailable",
        "VoucherRejected",
    ),
    "identity": ("Identity", "NetworkId", "PeerId", "network_id", "parse_peer_id", "peer_id_text"),
    "protocols.ids": ("Trust",),
    "protocols.wishes": ("ToolCall",),
    "units": ("Nano", "format_ton", "parse_ton"),
}
_ROOM_OF = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_ROOM_OF)
