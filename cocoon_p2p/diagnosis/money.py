"""The money: the chain behind a node's channels, its wallet, and the channels themselves."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from operator import attrgetter

import trio

from cocoon_p2p.config import ChainSection, WalletSection
from cocoon_p2p.config.folder import LEDGER
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.node.joining import GAS_MIN
from cocoon_p2p.node.money_shown import RISKY_SHARE
from cocoon_p2p.overview import ChannelView, channels_in
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.lite import NETWORKS, open_chain
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.store import is_server
from cocoon_p2p.units import Nano, format_ton

LAG_SECONDS = 60.0
"A chain makes a block every few seconds."

AHEAD_SECONDS = 10.0
"A block is never from the future: what is, shows that this machine's clock is behind."

TOLD_MAX = 32
"Channels that are told of one by one."


async def check_chain(patient: Patient) -> Sequence[Finding]:
    """Say whether the chain answers, how old its newest block is, and what that says of our clock."""
    section: ChainSection | None = patient.section("chain")
    if section is None:
        if patient.role == "bootstrap":
            return []
        text = "no [chain]: what is owed is written down by both sides, and no money moves"
        return [Finding("chain", Severity.FINE, text)]
    async with _chain(patient, section) as chain:
        return judge_chain(section.network, await chain.time() - patient.now())


@asynccontextmanager
async def _chain(patient: Patient, section: ChainSection) -> AsyncIterator[Chain]:
    """Take the running node's chain, or open one."""
    if patient.insides is not None and patient.insides.chain is not None:
        yield patient.insides.chain
        return
    servers, network = patient.loaded.resolve(section.servers), NETWORKS[section.network]
    async with open_chain(servers, network, clock=patient.now) as chain:
        yield chain


def judge_chain(network: str, ahead_seconds: float) -> Sequence[Finding]:
    """Judge how much later than our clock the newest block is from."""
    if ahead_seconds > AHEAD_SECONDS:
        text = f"this machine's clock is at least {ahead_seconds:,.0f} s behind the chain's"
        return [Finding("clock", Severity.FAILURE, text, "set it: timedatectl set-ntp true")]
    # A local chain makes blocks when there is something in them.
    if -ahead_seconds > LAG_SECONDS and network != "local":
        text = f"the newest block is {-ahead_seconds:,.0f} s old"
        remedy = "check this machine's clock; if it is right, name other servers: [chain] servers"
        return [Finding("chain", Severity.WARNING, text, remedy)]
    return [Finding("chain", Severity.FINE, f"{network} answers")]


async def check_wallet(patient: Patient) -> Sequence[Finding]:
    """Say whether the wallet can be used, and has enough for gas."""
    chain_section: ChainSection | None = patient.section("chain")
    section: WalletSection | None = patient.section("wallet")
    if chain_section is None or section is None:
        return []
    async with _chain(patient, chain_section) as chain:
        found: list[Finding] = []
        if section.payout:
            parse_address(section.payout, global_id=chain.global_id)
            found.append(Finding("wallet", Severity.FINE, f"paid at {section.payout}"))
        if section.file:
            wallet = wallet_file.read(patient.loaded.resolve(section.file))
            account = parse_address(wallet.address, global_id=chain.global_id).account
            found.append(judge_wallet(wallet.address, (await chain.account(account)).balance))
    return found


def judge_wallet(address: str, balance: Nano) -> Finding:
    """Judge what a wallet has for gas."""
    text = f"{format_ton(balance)} in {address}"
    if balance < GAS_MIN:
        remedy = f"send it {format_ton(GAS_MIN)} or more: without gas no channel is opened or closed"
        return Finding("wallet", Severity.WARNING, text, remedy)
    return Finding("wallet", Severity.FINE, text)


async def check_channels(patient: Patient) -> Sequence[Finding]:
    """Say which channels need their owner."""
    if patient.role == "bootstrap":
        return []
    if patient.insides is not None and patient.snapshot is not None:
        await trio.lowlevel.checkpoint()
        # All of a busy proxy's would take too long to spell; the others are well.
        risky = patient.insides.showing.channels_at_risk()
        number = 0 if patient.snapshot.money is None else patient.snapshot.money.channels_open
        well = [Finding("channels", Severity.FINE, f"{number} open")]
        return judge_channels(risky, patient.now(), is_running=True) if risky else well
    views = await trio.to_thread.run_sync(_channels, patient, abandon_on_cancel=True)
    if views is None:
        return [Finding("channels", Severity.FINE, "none yet")]
    return judge_channels(views, patient.now(), is_running=False)


def _channels(patient: Patient) -> list[ChannelView] | None:
    if is_server(patient.loaded.settings.data.ledger) or not (patient.data / LEDGER).exists():
        return None
    with suppress(ConfigurationError):
        return channels_in(patient.data / LEDGER)
    return None


def judge_channels(views: Iterable[ChannelView], now: float, *, is_running: bool) -> Sequence[Finding]:
    """Judge a node's channels: those that are settled are nobody's worry."""
    views = [view for view in views if not view.is_settled]
    found = [finding for view in views for finding in _judge_channel(view, now, is_running=is_running)]
    if len(found) > TOLD_MAX:
        # Whoever pays us can make some. The worst of all are told.
        found.sort(key=attrgetter("severity"), reverse=True)
        text, worst = f"{len(found) - TOLD_MAX} more findings like these", found[TOLD_MAX].severity
        found[TOLD_MAX:] = [Finding("channels", worst, text, "see them all: cocoon channels list")]
    return found or [Finding("channels", Severity.FINE, f"{len(views)} open")]


def _judge_channel(view: ChannelView, now: float, *, is_running: bool) -> Iterable[Finding]:
    name = f"{view.channel[:8]} with …{view.peer[-8:]}"
    if view.phase == "stopped":
        text, remedy = f"{name}: books that contradict each other", "cocoon channels close: papers are kept"
        yield Finding("channels", Severity.FAILURE, text, remedy)
    if view.close_at and view.side == "payee":
        text = f"{name}: its payer takes back what is not claimed in {view.close_at - now:,.0f} s"
        severity = Severity.FINE if is_running else Severity.FAILURE
        remedy = "" if is_running else "start the node, or have `cocoon channels watch` claim for it"
        yield Finding("channels", severity, text, remedy)
    is_used_up = view.vouchered_nano > RISKY_SHARE * view.capacity_nano
    if view.side == "payer" and view.phase == "open" and view.capacity_nano and is_used_up:
        text = f"{name}: {view.vouchered_nano / view.capacity_nano:.0%} of its capacity is used up"
        yield Finding("channels", Severity.WARNING, text, "cocoon channels top-up, or close it")
