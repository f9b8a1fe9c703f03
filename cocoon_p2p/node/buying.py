"""A client over real parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cocoon_p2p.client import Client, Policy, parse_trust
from cocoon_p2p.client.purses import open_purses
from cocoon_p2p.config import ClientFile, Loaded
from cocoon_p2p.control import Answer
from cocoon_p2p.node.parts import Parts, open_parts
from cocoon_p2p.node.self_checks import Check
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class OpenedClient:
    """A client, and what it stands on."""

    client: Client
    parts: Parts


@asynccontextmanager
async def open_client(
    loaded: Loaded[ClientFile], *, answers: Sequence[Answer] = (), check: Check | None = None
) -> AsyncIterator[Client]:
    """Open a client over real parts for as long as the block lasts.

    Args:
        loaded: The client's file.
        answers: What can be asked through its control socket beyond what every node answers.
        check: What looks it over now and then; None: nothing does.

    Raises:
        ConfigurationError: Something in the file or its folder cannot be used, or another process
            owns the ledger.
    """
    async with open_paying_client(loaded, answers=answers, check=check) as opened:
        yield opened.client


@asynccontextmanager
async def open_paying_client(
    loaded: Loaded[ClientFile],
    *,
    tops_up: bool = True,
    answers: Sequence[Answer] = (),
    check: Check | None = None,
) -> AsyncIterator[OpenedClient]:
    """Open a client whose channels are to be opened and closed too. Raises as `open_client`.

    Args:
        loaded: The client's file.
        tops_up: Whether channels are topped up before they run dry.
        answers: As for `open_client`.
        check: Likewise.
    """
    settings = loaded.settings.client
    policy = Policy(
        trust=parse_trust(settings.trust),
        max_cost=Nano(settings.max_cost),
        channel_capacity=Nano(settings.channel_capacity),
        proxy_trust=None if settings.proxy_trust is None else parse_trust(settings.proxy_trust),
        weights={name: bytes.fromhex(weights) for name, weights in settings.weights.items()},
    )
    # A client opens its channels by hand; what is open is topped up.
    funding = FundingPolicy(
        Nano(settings.channel_capacity), deposits_max=Nano(loaded.settings.wallet.deposits_max)
    )
    async with (
        open_parts(
            loaded,
            mode="client",
            grant=Nano(0),
            funding=funding if tops_up else None,
            answers=answers,
            check=check,
            beside=open_purses,
        ) as parts,
        Client.open(
            parts.transport,
            parts.directory,
            parts.accounts,
            parts.network,
            policy=policy,
            doorkeeper=parts.doorkeeper,
            journal=parts.journal,
        ) as client,
    ):
        parts.deeds.reach, parts.deeds.connect = client.account, client.connect
        yield OpenedClient(client, parts)
