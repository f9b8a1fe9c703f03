"""A chain as a process of its own: read from disk, served, and on disk before anybody sees a block of it.

A real network forgets nothing that it has shown. So this one does not either, however its process ends.
"""

import base64
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

import trio

from cocoon_p2p import keyfile
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.control import control_answers, control_path
from cocoon_p2p.payments.devchain.liteserver import serve_liteserver
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.network_config import global_config
from cocoon_p2p.payments.devchain.saved import load, save
from cocoon_p2p.units import Nano, format_ton


class Announce(Protocol):
    """Tells whoever watches what was done, and its facts."""

    def __call__(self, step: str, **facts: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How a chain is to be run."""

    host: IPv4Address
    port: int
    "0: any that is free."

    state: Path | None
    "Where the chain is kept; None: it is gone in the end."

    fund: tuple[tuple[AccountId, Nano], ...] = ()
    "What accounts are to have at least when the chain is up."


async def run_devchain(settings: Settings, announce: Announce, stop: trio.Event) -> None:
    """Run a chain until `stop`, and save each block before it is shown.

    A cancel leaves the chain as the last block had it; what is in none is lost.

    Raises:
        ConfigurationError: The saved chain cannot be read, is in use, or cannot be saved, then or later; or
            the address cannot be listened on; or tonpy is not installed.
    """
    with _server_key(settings.state) as key:
        chain = _opened(settings.state, announce)
        for account, amount in settings.fund:
            _fund(chain, account, amount, announce)
        make_block = chain.make_block if settings.state is None else partial(save, chain, settings.state)
        make_block()
        listener = await _listener(settings.host, settings.port)
        port = int(listener.socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            if settings.state is not None:
                await nursery.start(
                    serve_control, control_path(settings.state), control_answers(chain, make_block)
                )
            await nursery.start(partial(serve_liteserver, make_block=make_block), chain, listener, key)
            announce(
                "listening",
                address=f"{settings.host}:{port}",
                key=base64.b64encode(key.public_key).decode(),
            )
            config = global_config(settings.host, port, key.public_key, chain.history.first)
            announce("config", config=config)
            await stop.wait()
            nursery.cancel_scope.cancel()
        if settings.state is not None:
            save(chain, settings.state)
            announce("saved", file=str(settings.state), seqno=chain.last.master.id.seqno)


@contextmanager
def _server_key(state: Path | None) -> Iterator[Identity]:
    """Own the lite server's key while the block runs, and with it the chain beside it."""
    if state is None:
        yield Identity.from_seed(secrets.token_bytes(32))
        return
    path = state.with_name(state.name + ".key")
    key = keyfile.load_or_create(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"the chain is in use by another process (file={state})",
                hint="stop that process, or give this chain a file of its own",
            ) from None
        yield key
    finally:
        os.close(descriptor)


def _opened(state: Path | None, announce: Announce) -> DevChain:
    clock: Callable[[], float] = time.monotonic
    wall_time = int(time.time())
    try:
        if state is None:
            raise FileNotFoundError
        chain = load(state, clock=clock)
    except FileNotFoundError:
        chain = DevChain(now=wall_time, clock=clock, seed=secrets.token_bytes(32))
        announce("begun", global_id=chain.global_id)
        return chain
    # A chain whose time was moved stays ahead; one that slept wakes up today.
    chain.now = max(chain.now, wall_time)
    announce("restored", seqno=chain.last.master.id.seqno, global_id=chain.global_id)
    return chain


def _fund(chain: DevChain, account: AccountId, amount: Nano, announce: Announce) -> None:
    lacking = amount - chain.account(account).balance
    if lacking > 0:
        chain.give(account, lacking)
        announce(
            "funded", address=spell_address(account, global_id=chain.global_id), amount=format_ton(lacking)
        )


async def _listener(host: IPv4Address, port: int) -> trio.SocketListener:
    try:
        (listener,) = await trio.open_tcp_listeners(port, host=str(host))
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {exc.strerror or exc}", hint="choose another with --listen"
        ) from exc
    return listener
