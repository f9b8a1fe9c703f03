"""The steps of joining that take the world's time, each watched by a task of its own until it is made.

    bootstrap   one of those configured answers
    chain, gas  the chain answers and is in step; the wallet has enough, where one is needed
    seen        a node that is neither ours nor the proxy hands out the record that names what is sold
    first job   an exchange has ended well

None holds another up, or the node: what is late is told with what to do, and goes on being tried.

Spec: docs/joining.md.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import trio

from cocoon_p2p.config import AttestationSection, Loaded, ProxyFile, WorkerFile
from cocoon_p2p.errors import CocoonError, RemoteProtocolError
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.node.chain_heard import ChainHeard
from cocoon_p2p.node.steps import Steps
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record
from cocoon_p2p.units import Nano, format_ton

if TYPE_CHECKING:
    from cocoon_p2p.network.libp2p.kad import KadDirectory

LOOK_FIRST_SECONDS, LOOK_LAST_SECONDS = 0.5, 30.0
"Between two looks for what is not there yet; pauses double."

FIRST_JOB_LATE_SECONDS = 120.0
"Clients come when they come: it is no fault that none did at once."

GAS_MIN = Nano(200_000_000)
"What opening and closing a channel or two costs, in nanoTON, fees of the wallet included."


class _Pauses:
    """Ever longer pauses between looks."""

    def __init__(self) -> None:
        self._next = LOOK_FIRST_SECONDS

    async def take(self) -> None:
        await trio.sleep(self._next)
        self._next = min(2 * self._next, LOOK_LAST_SECONDS)


# ---------------------------------------------------------------- the network


async def tell_bootstrap(steps: Steps, directory: "KadDirectory") -> None:
    """Tell which bootstrap answers first; nothing, where none is configured."""

    def hint() -> str:
        silent = " ".join(
            (each.addresses or [each.peer])[0]
            for each in directory.health().bootstraps
            if not each.is_reached
        )
        return f"nobody answers at {silent}: check [network] bootstrap, and that TCP gets out of here"

    began = trio.current_time()
    with steps.expect("bootstrap", hint):
        peer = await directory.wait_bootstrap()
    if peer is not None:
        took = round(trio.current_time() - began, 2)
        found = next(each for each in directory.health().bootstraps if each.peer == peer_id_text(peer))
        steps("bootstrap", peer=found.peer, addresses=found.addresses[:1], took_seconds=took)


# ---------------------------------------------------------------- the chain


async def tell_chain(
    steps: Steps, treasury: Treasury | None, loaded: Loaded[ProxyFile] | Loaded[WorkerFile]
) -> None:
    """Tell whether the chain answers and is in step, and then what the wallet has."""
    section = loaded.settings.chain
    if treasury is None or section is None:
        steps("chain", network="none", money="what is owed is written down by both sides, no money moves")
        return
    hint = "no server of [chain] servers answers as it should: is the file the network's, does TCP get out?"
    with steps.expect("chain", hint, network=section.network):
        await _until_in_step(steps, treasury, section.network)
    steps("chain", network=section.network, standing="in step")
    await _tell_gas(steps, treasury, pays=isinstance(loaded.settings, ProxyFile))


async def _until_in_step(steps: Steps, treasury: Treasury, network: str) -> None:
    chain, pauses, is_told = treasury.chain, _Pauses(), False
    while True:
        try:
            await chain.time()
        except CocoonError:
            # Who waits is told by `expect`.
            await pauses.take()
            continue
        if not isinstance(chain, ChainHeard) or chain.standing != "behind":
            return
        if not is_told:
            is_told = True
            facts = {"network": network, "block": f"{-chain.ahead_seconds:,.0f} s old"}
            hint = "check this machine's clock; if it is right, name other servers: [chain] servers"
            steps.waiting("chain", hint, **facts)
        await pauses.take()


async def _tell_gas(steps: Steps, treasury: Treasury, *, pays: bool) -> None:
    """Tell whether the wallet has what this node spends on the chain."""
    if treasury.purse is None:
        if not pays:
            paid = "" if treasury.payout is None else _spell(treasury, treasury.payout)
            steps("gas", need="none: what is due pays for its own way", payout=paid)
        elif treasury.wallet is not None:
            steps("gas", need="none: the wallet of [wallet] funder pays")
        else:
            steps.failed("gas", "no channel can be opened to a worker: name a wallet, [wallet] file")
        return
    address = _spell(treasury, treasury.purse.wallet.account)
    pauses, wanted = _Pauses(), GAS_MIN if pays else Nano(0)

    def hint() -> str:
        return f"send {format_ton(GAS_MIN)} or more to {address}: without gas no channel is opened or closed"

    with steps.expect("gas", hint, wallet=address):
        is_told = False
        while True:
            balance = await _balance(treasury)
            if balance is not None and balance >= wanted:
                break
            if balance is not None and not is_told:
                is_told = True
                steps.waiting("gas", hint(), wallet=address, balance=format_ton(balance))
            await pauses.take()
    steps("gas", wallet=address, balance=format_ton(balance))


def _spell(treasury: Treasury, account: AccountId) -> str:
    return spell_address(account, global_id=treasury.global_id)


async def _balance(treasury: Treasury) -> Nano | None:
    assert treasury.purse is not None, "asked of who has a wallet"
    try:
        return (await treasury.chain.account(treasury.purse.wallet.account)).balance
    except CocoonError:
        return None


# ---------------------------------------------------------------- proof


def tell_attestation(steps: Steps, section: AttestationSection) -> None:
    """Tell how this machine proves itself, once it has."""
    facts = {
        "none": "nothing is proven: clients that ask for proof pass this node by",
        "sim": "INSECURE: a simulation, for demos",
    }
    steps("attestation", evidence=section.evidence, worth=facts.get(section.evidence, "by the machine"))


# ---------------------------------------------------------------- who sees us


async def tell_seen(
    steps: Steps,
    directory: "KadDirectory",
    network: NetworkId,
    proxies: Callable[[], Iterable[PeerId]],
    holds: Callable[[Record], Mapping[str, object] | None],
) -> None:
    """Tell once a third node hands out a proxy's record with what it is to hold.

    Args:
        steps: Told.
        directory: Asks the nodes whose place the record is at, but for that proxy and us.
        network: The network of its papers.
        proxies: Gives whose records count: a worker's proxies, or the proxy itself.
        holds: Says what a record shows of what is looked for, or None: not that.
    """
    pauses, keepers_seen = _Pauses(), 0

    def hint() -> str:
        if not any(proxies()):
            return "no proxy has taken this node's models yet: see the step before"
        if not keepers_seen:
            return "no node but the proxy itself keeps its record: is a bootstrap node up, does it answer?"
        return (
            "the record that others keep does not say so yet: it follows within seconds, else ask its proxy"
        )

    with steps.expect("seen", hint):
        while True:
            for proxy in list(proxies()):
                kept = await directory.keepers(proxy)
                keepers_seen = len(kept)
                for keeper, data in kept.items():
                    found = _read(data, network, proxy)
                    facts = None if found is None else holds(found)
                    if facts is not None:
                        steps("seen", by=peer_id_text(keeper), proxy=peer_id_text(proxy), **facts)
                        return
            await pauses.take()


def _read(data: bytes, network: NetworkId, proxy: PeerId) -> Record | None:
    try:
        return check_record(
            decode_signed(data), network=network, now=time.time(), role=Role.PROXY, peer=proxy
        )
    except RemoteProtocolError:
        return None


# ---------------------------------------------------------------- work


async def tell_first_job(steps: Steps, journal: Journal, file: str) -> None:
    """Tell of the first exchange that ended well, and of one before it that did not."""
    done, is_failure_told = trio.Event(), False

    def note(entry: Entry) -> None:
        nonlocal is_failure_told
        if done.is_set():
            return
        if entry.outcome == "finished":
            steps(
                "first job",
                model=entry.model,
                tokens=entry.completion_tokens,
                income=entry.income,
            )
            done.set()
        elif not is_failure_told:
            is_failure_told = True
            hint = "the log says what happened; `cocoon doctor` looks the node over"
            steps.failed("first job", hint, outcome=entry.outcome)

    forget = journal.listen(note)
    hint = f"nobody has asked yet; `cocoon status {file}` says what proxies think of this node"
    try:
        with steps.expect("first job", hint, after_seconds=FIRST_JOB_LATE_SECONDS):
            await done.wait()
    finally:
        forget()
