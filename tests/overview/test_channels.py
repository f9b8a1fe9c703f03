"""What a node's owner is shown of its channels: by the node, and by its ledger alone."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.ledger import Side, Status
from cocoon_p2p.overview import ChannelView, ListChannels, list_channels, views_of_rows
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.testing.overlay import MemoryNode, Overlay, open_overlay
from cocoon_p2p.testing.store import MemoryStore

HELLO = [{"role": "user", "content": "hello"}]
ONLY_THE_NODE_KNOWS = ("is_connected", "running_nano", "credit_nano")


async def told(node: MemoryNode, accounts: Accounts) -> list[ChannelView]:
    views: list[ChannelView] = []

    async def say(view: ChannelView) -> None:
        views.append(view)

    await list_channels(MemoryStore(node.disk), accounts, ListChannels(), say)
    return views


def kept(node: MemoryNode) -> list[ChannelView]:
    unsettled = [row for row in node.disk.exchanges.values() if row.status is not Status.ENDED]
    return views_of_rows(node.disk.channels.values(), unsettled)


async def buy(overlay: Overlay) -> None:
    async with overlay.client.chat("scripted", HELLO) as answer:
        await answer.read()


async def test_a_proxy_shows_both_sides_and_what_each_was_charged(autojump_clock: MockClock) -> None:
    async with open_overlay() as overlay:
        await buy(overlay)
        paid, received, earned = overlay.paid()

        payee, payer = await told(overlay.nodes["proxy"], overlay.proxy_accounts)

    assert (payee.side, payer.side) == ("payee", "payer")
    assert payee.peer == peer_id_text(overlay.nodes["client"].identity.peer_id)
    assert payer.peer == peer_id_text(overlay.nodes["worker-1"].identity.peer_id)
    assert payee.charged_nano == received == paid > 0
    assert payer.charged_nano == earned > 0
    assert payee.is_connected
    assert payer.is_connected
    assert payee.phase == payer.phase == "open"
    assert payee.running_nano == payer.running_nano == 0
    assert payee.credit_nano == payee.vouchered_nano - payee.charged_nano


async def test_what_runs_is_shown_by_both_ends_while_it_runs(autojump_clock: MockClock) -> None:
    async with open_overlay() as overlay, overlay.client.chat("scripted", HELLO) as answer:
        await anext(answer)
        (of_client,) = await told(overlay.nodes["client"], overlay.client_accounts)
        of_proxy, _ = await told(overlay.nodes["proxy"], overlay.proxy_accounts)
        await answer.read()

    assert of_client.running_nano is not None
    assert of_proxy.running_nano is not None
    assert of_client.running_nano >= of_proxy.running_nano > 0
    # This proxy grants nothing.
    owed = of_client.charged_nano + of_client.running_nano
    assert of_client.credit_nano == of_client.vouchered_nano - owed
    assert of_client.channel == of_proxy.channel


async def test_the_ledger_alone_shows_the_same_but_for_what_only_the_node_knows(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay(workers=2) as overlay:
        await buy(overlay)
        nodes = {
            "client": overlay.client_accounts,
            "proxy": overlay.proxy_accounts,
            "worker-1": overlay.worker_accounts[0],
        }
        for name, accounts in nodes.items():
            seen = await told(overlay.nodes[name], accounts)
            from_ledger = {view.channel: view for view in kept(overlay.nodes[name])}

            for view in seen:
                other = from_ledger[view.channel]
                for field in ChannelView.__struct_fields__:
                    if field not in ONLY_THE_NODE_KNOWS:
                        assert getattr(view, field) == getattr(other, field), (name, field)
                assert (other.is_connected, other.credit_nano) == (None, None)


@pytest.mark.long
async def test_a_channel_that_the_node_has_done_with_is_shown_from_its_ledger(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay() as overlay:
        await buy(overlay)
        (account,) = overlay.client_accounts.payees()
        await account.close()
        # Terms stay good for an hour; then the account is forgotten, an hour later at most.
        await trio.sleep(3 * 3600)
        assert overlay.client_accounts.payees() == ()

        (view,) = await told(overlay.nodes["client"], overlay.client_accounts)

    assert view.phase == "closed"
    assert view.is_connected is None
    assert view.charged_nano > 0


async def test_a_payer_s_exchange_that_a_crash_left_open_is_shown_as_running(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay() as overlay, overlay.client.chat("scripted", HELLO) as answer:
        await anext(answer)
        disk = overlay.nodes["client"].disk.copy()
        await answer.read()
    node = MemoryNode.named("client")
    node.disk = disk

    (view,) = kept(node)

    assert view.side == Side.PAYER.name.lower()
    assert view.running_nano is not None
    assert view.running_nano > 0
