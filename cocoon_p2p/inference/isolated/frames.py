"""What an engine's process and its node say to each other, and how it is cut into frames.

    node                                            child
      Open(which engine, of what) ----------------->
      <------------------------------- Progress ... Opened, or OpenFailed
      Count(call, request) ------------------------>
      <----------------- Counted, or Failed; then Left
      Start(call, request, credit) ---------------->
      <--- Begun, Said ..., perhaps Failed; then Left
      Grant(call, credit), Leave(call) ------------>
      <------------------------------ Beat, Logged

A frame is four bytes of length, high one first, and one message in MessagePack. Every call ends
with one `Left`, when the engine has let go of it. Both ends are one release of this package:
there are no versions. Pure.
"""

import struct
from typing import Final, Generic, TypeVar

import msgspec

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.inference.engine import Capabilities, GenerateRequest, Piece, PromptCount

FRAME_SIZE_MAX_BYTES: Final = 16 << 20
"Either way. A whole request, with images or speech, comes to 12 MiB at most; vectors come in several pieces."

WINDOW_BYTES: Final = 64 << 10
"""What may wait for one reader, beyond the piece that exceeds it: some hundred pieces. It is counted in
bytes because a piece may be a token or a thousand vectors."""

HEAD: Final = struct.Struct(">I")


class Open(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message. `opening` is what the child's own module understands."""

    opening: msgspec.Raw
    hash_memory: str | None
    log_level: int


class Count(msgspec.Struct, frozen=True, array_like=True, tag=2):
    call: int
    request: GenerateRequest


class Start(msgspec.Struct, frozen=True, array_like=True, tag=3):
    call: int
    request: GenerateRequest
    credit_bytes: int


class Grant(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The reader has taken so much: as much more may come."""

    call: int
    credit_bytes: int


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Nobody waits for this call any more."""

    call: int


ToChild = Open | Count | Start | Grant | Leave


class Fault(msgspec.Struct, frozen=True, array_like=True):
    """An error on its way; `faults` knows the names."""

    name: str
    text: str
    hint: str


class Progress(msgspec.Struct, frozen=True, array_like=True, tag=16):
    done_bytes: int
    total_bytes: int


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=17):
    capabilities: Capabilities


class OpenFailed(msgspec.Struct, frozen=True, array_like=True, tag=18):
    fault: Fault


class Counted(msgspec.Struct, frozen=True, array_like=True, tag=19):
    call: int
    count: PromptCount


class Begun(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The engine has taken the request: it has a slot."""

    call: int


class Said(msgspec.Struct, frozen=True, array_like=True, tag=21):
    call: int
    piece: Piece


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=22):
    call: int
    fault: Fault


class Left(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """The engine has let go of the call; nothing more is said of it."""

    call: int


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """The child's trio turns."""


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=25):
    level: int
    logger: str
    event: str
    facts: dict[str, str | int | float | bool | None]


FromChild = Progress | Opened | OpenFailed | Counted | Begun | Said | Failed | Left | Beat | Logged

M = TypeVar("M")


class LineBroken(RemoteProtocolError):
    """The other end of a line says what it must not."""


def encode_frame(message: ToChild | FromChild) -> bytes:
    """Write one message as a frame.

    Raises:
        ValueError: It is larger than a frame may be, or holds text that is none (a lone surrogate), or a
            number beyond 64 bits.
    """
    try:
        body = _ENCODER.encode(message)
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc
    if len(body) > FRAME_SIZE_MAX_BYTES:
        raise ValueError(f"too large for a frame (size={len(body)} max={FRAME_SIZE_MAX_BYTES} bytes)")
    return HEAD.pack(len(body)) + body


class Frames(Generic[M]):
    """Puts the bytes of one direction together to messages.

    Args:
        decoder: Knows the messages that this direction may have.
    """

    def __init__(self, decoder: "msgspec.msgpack.Decoder[M]") -> None:
        self._decoder = decoder
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[M, int]]:
        """Take what came; give the messages that are whole, each with the size of its frame in bytes.

        Raises:
            LineBroken: It is no message of this direction, or too large.
        """
        self._data += data
        messages: list[tuple[M, int]] = []
        at, end = 0, len(self._data)
        while end - at >= HEAD.size:
            (size,) = HEAD.unpack_from(self._data, at)
            if size > FRAME_SIZE_MAX_BYTES:
                raise LineBroken(f"too large a frame (size={size} max={FRAME_SIZE_MAX_BYTES} bytes)")
            after = at + HEAD.size + size
            if after > end:
                break
            messages.append((self._decode(bytes(self._data[at + HEAD.size : after])), HEAD.size + size))
            at = after
        del self._data[:at]
        return messages

    def _decode(self, body: bytes) -> M:
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            # What it says of the value may quote it.
            raise LineBroken(f"not a message ({type(exc).__name__})") from None


_ENCODER: Final = msgspec.msgpack.Encoder()
TO_CHILD: Final = msgspec.msgpack.Decoder(ToChild)
FROM_CHILD: Final = msgspec.msgpack.Decoder(FromChild)
