"""A lite client of another library's making, as far as its cryptography goes, over any trio stream."""

from hashlib import sha256

import trio
from pytoniq_core.crypto.ciphers import Client, Server, create_aes_ctr_cipher, get_shared_key

from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.devchain.packets import Answer, LiteQuery, Query
from cocoon_p2p.payments.devchain.tl import decode, encode

SERVER_KEY = Identity.from_seed(b"the server's seed, 32 bytes long")


class Ciphers:
    """The client's side of ADNL, without a stream."""

    def __init__(self, server_key: bytes = SERVER_KEY.public_key, seed: bytes = b"c" * 32) -> None:
        self._server = Server("", 0, server_key)
        self._client = Client(seed)
        parameters = sha256(b"parameters").digest() * 5
        self._read = create_aes_ctr_cipher(parameters[:32], parameters[64:80])
        self._write = create_aes_ctr_cipher(parameters[32:64], parameters[80:96])
        shared = get_shared_key(self._client.x25519_private.encode(), self._server.x25519_public.encode())
        checksum = sha256(parameters).digest()
        seal = create_aes_ctr_cipher(shared[:16] + checksum[16:], checksum[:4] + shared[20:])
        name, public = self._server.get_key_id(), self._client.ed25519_public.encode()
        self.handshake = name + public + checksum + seal.encrypt(parameters)

    def packet(self, payload: bytes) -> bytes:
        body = b"n" * 32 + payload
        return self._write.encrypt((len(body) + 32).to_bytes(4, "little") + body + sha256(body).digest())

    def raw(self, plain: bytes) -> bytes:
        """Encrypt what is no packet."""
        return bytes(self._write.encrypt(plain))

    def open(self, data: bytes) -> bytes:
        return bytes(self._read.decrypt(data))


class LiteSide:
    """A connection to a lite server."""

    def __init__(self, stream: trio.abc.Stream, ciphers: Ciphers | None = None) -> None:
        self.stream = stream
        self.ciphers = ciphers or Ciphers()
        self._asked = 0

    async def shake_hands(self) -> None:
        await self.stream.send_all(self.ciphers.handshake)
        assert await self.receive() == b""

    async def receive(self) -> bytes:
        """Read one packet's payload. Raises trio.EndOfChannel when the server has hung up."""
        size = int.from_bytes(self.ciphers.open(await self._exactly(4)), "little")
        packet = self.ciphers.open(await self._exactly(size))
        assert sha256(packet[:-32]).digest() == packet[-32:]
        return packet[32:-32]

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = await self.stream.receive_some(size - len(data))
            if not part:
                raise trio.EndOfChannel
            data += part
        return data

    async def send(self, payload: bytes) -> None:
        await self.stream.send_all(self.ciphers.packet(payload))

    async def send_query(self, data: bytes) -> bytes:
        """Send a lite server's query; its id is returned."""
        self._asked += 1
        query_id = self._asked.to_bytes(32, "big")
        await self.send(encode(Query(query_id, encode(LiteQuery(data)))))
        return query_id

    async def answer(self) -> tuple[bytes, object]:
        """Read an answer: the id of its query, and what it says."""
        message = decode(await self.receive())
        assert isinstance(message, Answer)
        return message.query_id, decode(message.answer)

    async def ask(self, query: object, prefix: object = None) -> object:
        asked = await self.send_query((b"" if prefix is None else encode(prefix)) + encode(query))
        query_id, answer = await self.answer()
        assert query_id == asked
        return answer
