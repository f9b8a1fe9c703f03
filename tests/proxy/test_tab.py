"""What an exchange has set aside goes back once, and is not taken again."""

from types import SimpleNamespace
from typing import Any

import trio

from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.proxy.tab import Tab
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.units import Nano

HELLO = ({"role": "user", "content": "Hello"},)


async def test_an_exchange_that_has_ended_takes_none_of_the_credit_that_it_gave_back(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with open_overlay() as overlay:
        async with overlay.client.chat("scripted", HELLO) as answer:
            await answer.read()
        (account,) = overlay.proxy_accounts.payers()
        # Of the deal only the exchange's id is looked at here.
        deal: Any = SimpleNamespace(ask=SimpleNamespace(exchange=ExchangeId(bytes(16))))
        tab = Tab(deal, account, wanted=Nano(account.credit // 2))
        assert tab.cover()
        # It wanted more when it ended.
        tab.wanted = Nano(2 * tab.wanted)

        tab.release()

        assert not tab.cover()
        assert account.accrued == 0
