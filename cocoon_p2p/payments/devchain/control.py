"""The socket by which its owner moves a running chain's time and gets money from its faucet.

A Unix socket that only its owner can open. A request is one line of JSON, its reply another:

    {"do": "give", "address": "0:...", "amount": 5000000000}     {"now": ..., "seqno": ..., "balance": ...}
    {"do": "advance", "seconds": 3600}                           {"now": ..., "seqno": ...}
    {"do": "look", "address": "0:..."}                           {"now": ..., "seqno": ..., "balance": ...}

`amount` and `balance` are in nanoTON, `now` in seconds since the Unix epoch; `seqno` is the
last masterchain block's number, and what was asked for is in it. A request that cannot be
done is replied to with {"error": "..."}.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import trio

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Unavailable
from cocoon_p2p.payments.devchain.addresses import parse_address
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.units import NANO_MAX

CONNECTIONS_MAX = 8
LINE_MAX_BYTES = 4096
SILENT_SECONDS = 30.0
_PRIVATE_MASK = 0o177


class Give(msgspec.Struct, tag="give", tag_field="do", forbid_unknown_fields=True):
    """Give an account money out of nothing."""

    address: str
    amount: int


class Advance(msgspec.Struct, tag="advance", tag_field="do", forbid_unknown_fields=True):
    """Move the chain's time."""

    seconds: int


class Look(msgspec.Struct, tag="look", tag_field="do", forbid_unknown_fields=True):
    """Ask how an account stands."""

    address: str


Request = Give | Advance | Look


class Reply(msgspec.Struct, omit_defaults=True):
    """What came of a request."""

    now: int = 0
    seqno: int = 0
    balance: int | None = None
    error: str | None = None


def control_path(state: Path) -> Path:
    """Give the socket's place: beside the file that the chain is saved in."""
    return state.with_name(state.name + ".sock")


async def serve_control(
    chain: DevChain,
    path: Path,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take requests for a chain until cancelled; then the socket is gone.

    Raises:
        ConfigurationError: There can be no socket at `path`.
    """
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream, places:
            with suppress(trio.BrokenResourceError, trio.TooSlowError):
                await _serve(chain, stream)

    with _listening(path) as listener:
        await trio.serve_listeners(serve, [listener], task_status=task_status)


@contextmanager
def _listening(path: Path) -> Iterator[trio.SocketListener]:
    """Make the socket, with no moment in which others could open it; in the end it is gone."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(_PRIVATE_MASK)
    try:
        made.bind(os.fspath(path))
        made.listen(CONNECTIONS_MAX)
    except OSError as exc:
        made.close()
        raise ConfigurationError(
            f"no control socket can be made: {exc} (path={path})",
            hint="name a state file in a folder of your own, with a path below 100 characters",
        ) from exc
    finally:
        os.umask(mask)
    try:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(made))
    finally:
        path.unlink(missing_ok=True)


async def _serve(chain: DevChain, stream: trio.SocketStream) -> None:
    """Reply to one line after the other, until the other side leaves or sends no line end."""
    buffer = bytearray()
    while len(buffer) <= LINE_MAX_BYTES:
        with trio.fail_after(SILENT_SECONDS):
            data = await stream.receive_some(LINE_MAX_BYTES)
        if not data:
            return
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            with trio.fail_after(SILENT_SECONDS):
                await stream.send_all(msgspec.json.encode(reply_to(chain, bytes(line))) + b"\n")


def reply_to(chain: DevChain, line: bytes) -> Reply:
    """Do what a line asks for."""
    try:
        return _do(chain, msgspec.json.decode(line, type=Request))
    except (msgspec.MsgspecError, MalformedMessage, ValueError) as exc:
        return Reply(error=str(exc))


def _do(chain: DevChain, request: Request) -> Reply:
    match request:
        case Give(address, amount):
            if not 0 < amount <= NANO_MAX:
                raise ValueError(f"amount out of range (amount={amount} nanoTON)")
            account = parse_address(address)
            chain.give(account, amount)
            chain.make_block()
            return _reply(chain, balance=chain.account(account).balance)
        case Advance(seconds):
            if not 0 <= seconds <= TIME_MAX - chain.now:
                raise ValueError(f"time moves forward, to {TIME_MAX} at most (seconds={seconds})")
            chain.now += seconds
            chain.make_block()
            return _reply(chain)
        case Look(address):
            return _reply(chain, balance=chain.account(parse_address(address)).balance)


def _reply(chain: DevChain, balance: int | None = None) -> Reply:
    return Reply(now=chain.now, seqno=chain.last.master.id.seqno, balance=balance)


def ask(path: Path, request: Request) -> Reply:
    """Ask a running chain, from another process. Blocks for a moment.

    Raises:
        Unavailable: No chain runs there, or it did not answer.
        ConfigurationError: It could not do what was asked; the text says why.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(SILENT_SECONDS)
            stream.connect(os.fspath(path))
            stream.sendall(msgspec.json.encode(request) + b"\n")
            line = stream.makefile("rb").readline(LINE_MAX_BYTES)
        reply = msgspec.json.decode(line, type=Reply)
    except (OSError, msgspec.MsgspecError) as exc:
        raise Unavailable(
            f"no local chain answers at {path}: {exc}", hint="start it: cocoon devchain --state FILE"
        ) from exc
    if reply.error is not None:
        raise ConfigurationError(reply.error)
    return reply
