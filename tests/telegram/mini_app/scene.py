"""A Mini App's whole world in one process: a chain with real contracts, a proxy, a worker, users' wallets.

The chain runs TON's own virtual machine; the network is in memory. Users' wallets are real ones of version
5, behind the face that TON Connect gives a wallet.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, network_id, peer_id_text
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.payments.wallet import Transfer, Wallet, WalletKey, read_seqno, sign_request
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.v5r1 import _state_init  # what the wallet shows TON Connect
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.proxy import serve_proxy
from cocoon_p2p.telegram.mini_app import Door, DoorSettings, open_own_channels
from cocoon_p2p.telegram.mini_app.own_channel import UserSide
from cocoon_p2p.telegram.mini_app.own_channels import IDLE_SECONDS, OPEN_MAX, OwnChannels
from cocoon_p2p.telegram.mini_app.proof import WalletProof, signed_hash
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork
from cocoon_p2p.testing.overlay import PRICE, MemoryNode
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import NANO_PER_TON, Nano
from cocoon_p2p.worker import serve_worker
from tests.payments.wallets import NOW, MemoryJournal

NETWORK = network_id("mini-app")
TOKEN = "7342037359:AAFZehRPBRs8Seg40oDjTMIW8uTGPuW1zfQ"
"Published among the test vectors of others: no bot's."

GIVEN = 10 * NANO_PER_TON
DELAY_SECONDS = 600
"As short as a configuration allows: a day of heartbeats takes long, even on a clock that jumps."

WORKER_GRANT = Nano(20_000_000)
PROXY_WALLET, WORKER_ACCOUNT = WalletKey.from_seed(b"Q" * 32), AccountId(b"\xee" * 32)


def init_data(user_id: int = 42, *, auth_date: int = NOW, token: str = TOKEN, **fields: str) -> str:
    """Sign what Telegram would say of a user who opens our Mini App; fields may be others than it has."""
    user = json.dumps({"id": user_id, "first_name": "Ada", "language_code": "en"})
    return signed({"user": user, "auth_date": str(auth_date), "query_id": "AAE", **fields}, token)


def signed(fields: Mapping[str, str], token: str = TOKEN) -> str:
    lines = "\n".join(f"{key}={fields[key]}" for key in sorted(fields))
    secret = hmac.digest(b"WebAppData", token.encode(), hashlib.sha256)
    return urlencode({**fields, "hash": hmac.digest(secret, lines.encode(), hashlib.sha256).hex()})


class UserWallet:
    """Somebody's wallet, as TON Connect shows it to pages."""

    def __init__(self, chain: Chain, key: WalletKey, now: Callable[[], float]) -> None:
        self._chain = chain
        self._now = now
        self.key = key
        self.wallet = Wallet(key.public_key, chain.global_id)
        self.sent: list[Mapping[str, Any]] = []

    @property
    def account(self) -> AccountId:
        return self.wallet.account

    def account_item(self) -> dict[str, Any]:
        return {
            "address": f"0:{self.account.hex()}",
            "chain": str(self.wallet.global_id),
            "walletStateInit": base64.b64encode(write_boc(_state_init(self.wallet))).decode(),
            "publicKey": self.key.public_key.hex(),
        }

    def prove(self, payload: str, *, domain: str = "127.0.0.1", at: float | None = None) -> dict[str, Any]:
        """Agree to connect: give what the page passes on to its backend."""
        signed_at = int(self._now() if at is None else at)
        unsigned = WalletProof(self.account, None, domain, signed_at, payload, b"")
        return {
            "account": self.account_item(),
            "proof": {
                "timestamp": signed_at,
                "domain": {"lengthBytes": len(domain), "value": domain},
                "payload": payload,
                "signature": base64.b64encode(self.key.sign(signed_hash(unsigned))).decode(),
            },
        }

    async def send(self, order: Mapping[str, Any]) -> None:
        """Agree to a request of `sendTransaction`, and carry it out on the chain."""
        assert order["from"] == f"0:{self.account.hex()}"
        assert order["network"] == str(self.wallet.global_id)
        assert order["valid_until"] > self._now()
        seen = await self._chain.account(self.account)
        signed = sign_request(
            self.key,
            self.wallet,
            [self._transfer(message) for message in order["messages"]],
            seqno=read_seqno(self.wallet, seen.code, seen.data),
            valid_until=order["valid_until"],
            deploy=seen.code is None,
        )
        await self._chain.send(signed.message)
        self.sent.append(order)

    def _transfer(self, message: Mapping[str, Any]) -> Transfer:
        to = parse_address(message["address"], global_id=self.wallet.global_id)
        body, state = message.get("payload"), message.get("stateInit")
        return Transfer(
            to.account,
            Nano(int(message["amount"])),
            None if body is None else base64.b64decode(body),
            None if state is None else base64.b64decode(state),
            to.is_bounceable,
        )

    async def balance(self) -> int:
        return (await self._chain.account(self.account)).balance


class World:
    """The chain and the network, and what outlives users' sides."""

    def __init__(self, links: MemoryNetwork) -> None:
        started_at = trio.current_time()
        self.now = lambda: NOW + trio.current_time() - started_at
        self.devchain = DevChain(now=NOW, clock=trio.current_time)
        self.chain = LocalChain(self.devchain)
        self.links = links
        self.directory = MemoryDirectory()
        self.nodes: dict[str, MemoryNode] = {}
        self.lives = 0
        "How many sides of users were opened so far."

        self.open_now = 0
        self.breaks: set[AccountId] = set()
        "Wallets whose sides cannot be opened."

        proxy = Wallet(PROXY_WALLET.public_key, self.devchain.global_id)
        self.devchain.give(LocalAccountId(proxy.account), GIVEN)

    def wallet(self, seed: bytes = b"U" * 32) -> UserWallet:
        """Give somebody a wallet with money in it."""
        wallet = UserWallet(self.chain, WalletKey.from_seed(seed), self.now)
        self.devchain.give(LocalAccountId(wallet.account), GIVEN)
        return wallet

    def lose_proxy(self) -> None:
        """Let nobody reach the proxy any more."""
        self.links.crash(self.node("proxy").identity.peer_id)

    def node(self, name: str) -> MemoryNode:
        return self.nodes.setdefault(name, MemoryNode.named(name))

    @asynccontextmanager
    async def open_side(self, user: int, wallet: AccountId) -> AsyncIterator[UserSide]:
        """Open a user's side over what its disk has."""
        if wallet in self.breaks:
            raise ConfigurationError("told to break: /secret/path")
        node = self.node(_name(user, wallet))
        store = MemoryStore(node.disk)
        transport = self.links.transport(node.identity, listen=False)
        treasury = Treasury(
            self.chain, store, payout=None, funder=wallet, close_delay_seconds=DELAY_SECONDS, clock=self.now
        )
        policy = Policy(trust=Trust.OPEN)
        async with (
            self.accounts(node.identity, store, treasury, Nano(0)) as accounts,
            Client.open(
                transport, self.directory.of(transport), accounts, NETWORK, policy=policy, clock=self.now
            ) as client,
        ):
            self.lives += 1
            self.open_now += 1
            try:
                yield UserSide(client, accounts, treasury)
            finally:
                self.open_now -= 1
                self.links.crash(node.identity.peer_id)

    @asynccontextmanager
    async def accounts(
        self, identity: Identity, store: MemoryStore, treasury: Treasury, grant: Nano
    ) -> AsyncIterator[Accounts]:
        transport = self.links.transports[identity.peer_id]
        async with (
            open_accounts(
                transport,
                identity,
                NETWORK,
                store,
                grant_policy=lambda _payer: grant,
                bank=treasury,
                clock=self.now,
            ) as accounts,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(treasury.run, accounts)
            yield accounts

    @asynccontextmanager
    async def market(self, engine: Engine, name: str = "", price: Price = PRICE) -> AsyncIterator[None]:
        """Run a proxy with a wallet, and a worker that is paid on the same chain."""
        proxy, worker = self.node(f"{name}proxy"), self.node(f"{name}worker")
        listening = self.links.transport(proxy.identity)
        dialling = self.links.transport(worker.identity, listen=False)
        stores = MemoryStore(proxy.disk), MemoryStore(worker.disk)
        purse = Purse(self.chain, PROXY_WALLET, MemoryJournal())
        account = purse.wallet.account
        sides = (
            Treasury(
                self.chain,
                stores[0],
                payout=account,
                purse=purse,
                close_delay_seconds=DELAY_SECONDS,
                clock=self.now,
            ),
            Treasury(
                self.chain,
                stores[1],
                payout=WORKER_ACCOUNT,
                close_delay_seconds=DELAY_SECONDS,
                clock=self.now,
            ),
        )
        async with (
            self.accounts(proxy.identity, stores[0], sides[0], Nano(0)) as received,
            self.accounts(worker.identity, stores[1], sides[1], WORKER_GRANT) as earned,
            open_service_nursery() as nursery,
        ):
            serving = partial(
                serve_proxy,
                transport=listening,
                directory=self.directory.of(listening),
                identity=proxy.identity,
                network=NETWORK,
                accounts=received,
                now=self.now,
            )
            standing = await nursery.start(serving)
            working = partial(
                serve_worker,
                transport=dialling,
                identity=worker.identity,
                network=NETWORK,
                engine=engine,
                accounts=earned,
                proxies=[[f"/memory/1/p2p/{peer_id_text(proxy.identity.peer_id)}"]],
                prices={card.name: price for card in engine.capabilities.models},
                now=self.now,
            )
            await nursery.start(working)
            await standing.wait_workers(1)
            yield


def _name(user: int, wallet: AccountId) -> str:
    return f"user-{user}-{wallet.hex()}"


@asynccontextmanager
async def open_world(engine: Engine | None = None) -> AsyncIterator[World]:
    async with MemoryNetwork() as links:
        world = World(links)
        async with world.market(engine or ScriptedEngine()):
            yield world


@asynccontextmanager
async def open_door(
    world: World,
    *,
    origin: str = "http://127.0.0.1",
    open_max: int = OPEN_MAX,
    idle_seconds: float = IDLE_SECONDS,
    pages: Path | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Door, OwnChannels]]:
    """Stand a door up in a world."""
    wanted = DoorSettings(**{"origin": origin, "token": TOKEN, "model": "scripted", **settings})
    async with open_own_channels(world.open_side, open_max=open_max, idle_seconds=idle_seconds) as channels:
        yield Door(wanted, channels, world.chain, clock=world.now, pages=pages), channels
