"""Strangers, whose keys are free, cannot fill a payee's memory or its ledger."""

import trio

from cocoon_p2p.payments.settlement import FORGET_SECONDS
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.units import Nano

HELLO = ({"role": "user", "content": "Hello"},)


async def test_a_channel_that_was_never_charged_is_forgotten_and_one_that_was_is_kept(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with open_overlay() as overlay:
        client, proxy = (overlay.nodes[name].identity.peer_id for name in ("client", "proxy"))
        disk = overlay.nodes["proxy"].disk
        # It opens a channel, covers a first request, and is gone before anything was done for it.
        overlay.network.connect(client, proxy)
        account = await overlay.client_accounts.paying(proxy, capacity=Nano(10**9))
        account.hold(ExchangeId(bytes(16)), Nano(5_000))
        await trio.sleep(1)
        assert [row.vouchered for row in disk.channels.values() if row.peer == client] == [5_000]

        overlay.network.partition(client, proxy)
        overlay.network.cut(client, proxy)
        await trio.sleep(2 * FORGET_SECONDS)

        assert overlay.proxy_accounts.payers() == ()
        assert [row for row in disk.channels.values() if row.peer == client] == []
        assert [name for name, _ in disk.lines if name.channel == account.channel] == []

        overlay.network.heal(client, proxy)
        async with overlay.client.chat("scripted", HELLO) as answer:
            await answer.read()
        await trio.sleep(2 * FORGET_SECONDS)

        assert sum(payer.charged() for payer in overlay.proxy_accounts.payers()) == answer.cost > 0
