"""What travels in ADNL's packets: pings, and queries with their answers.

Spec: tl/generate/scheme/ton_api.tl (`tcp.ping`, `adnl.message.query`), lite_api.tl (`liteServer.query`).
"""

from dataclasses import dataclass

from cocoon_p2p.payments.devchain.tl import tl


@tl("tcp.ping random_id:long = tcp.Pong")
@dataclass(frozen=True, slots=True)
class Ping:
    random_id: int


@tl("tcp.pong random_id:long = tcp.Pong")
@dataclass(frozen=True, slots=True)
class Pong:
    random_id: int


@tl("adnl.message.query query_id:int256 query:bytes = adnl.Message")
@dataclass(frozen=True, slots=True)
class Query:
    query_id: bytes
    query: bytes


@tl("adnl.message.answer query_id:int256 answer:bytes = adnl.Message")
@dataclass(frozen=True, slots=True)
class Answer:
    query_id: bytes
    answer: bytes


@tl("liteServer.query data:bytes = Object")
@dataclass(frozen=True, slots=True)
class LiteQuery:
    data: bytes
