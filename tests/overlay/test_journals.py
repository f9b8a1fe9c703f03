"""What client, proxy and workers note of one and the same exchange: the same, to the nanoTON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from cocoon_p2p.client import Policy
from cocoon_p2p.errors import CocoonError, Unavailable
from cocoon_p2p.journal import Entry
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.proxy import ProxyPolicy
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import Fate
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from cocoon_p2p.units import Nano
from tests.overlay.test_exchanges import HELLO, WORDS, WRITES, ask, hit, kill_at, settle

MANY = tuple(f"word{number} " for number in range(24))


def noted(overlay: Overlay, name: str) -> list[Entry]:
    return list(overlay.nodes[name].journal.recent)


def by_role(overlay: Overlay) -> dict[bytes, dict[str, Entry]]:
    """Give what was noted by exchange and role. Nobody may note one twice."""
    found: dict[bytes, dict[str, Entry]] = {}
    for node in overlay.nodes.values():
        for entry in node.journal.recent:
            assert entry.role not in found.setdefault(entry.exchange, {})
            found[entry.exchange][entry.role] = entry
    return found


def check_agreement(entries: dict[str, Entry]) -> None:
    """Hold the three entries of one exchange against each other."""
    client, proxy, worker = entries["client"], entries["proxy"], entries["worker"]
    for same in ("model", "continues", "prompt_tokens", "completion_tokens"):
        assert getattr(client, same) == getattr(proxy, same) == getattr(worker, same)
    assert (client.income, client.expense) == (0, proxy.income)
    assert (proxy.expense, worker.expense) == (worker.income, 0)
    assert worker.seconds <= proxy.seconds <= client.seconds


def check_totals(overlay: Overlay) -> None:
    """Hold what was noted against the ledgers."""
    journals = {name: node.journal for name, node in overlay.nodes.items()}
    spent = sum(entry.expense for entry in noted(overlay, "client"))
    received = sum(entry.income for entry in noted(overlay, "proxy"))
    passed_on = sum(entry.expense for entry in noted(overlay, "proxy"))
    workers = [name for name in journals if name.startswith("worker")]
    earned = sum(entry.income for name in workers for entry in noted(overlay, name))
    earned -= sum(journals[name].given_up for name in workers)
    assert (spent, received, earned) == overlay.paid()
    assert passed_on == earned


@asynccontextmanager
async def network(*engines: ScriptedEngine, **options: Any) -> AsyncIterator[Overlay]:
    async with open_overlay(engines=engines or [ScriptedEngine(WORDS)], **options) as overlay:
        yield overlay


async def test_all_three_note_an_answer_that_was_finished(autojump_clock: trio.abc.Clock) -> None:
    async with network(delay_seconds=(0.01, 0.02)) as overlay:
        async with overlay.client.chat("scripted", HELLO) as answer:
            await answer.read()

        ((exchange, entries),) = by_role(overlay).items()
        check_agreement(entries)
        check_totals(overlay)
        assert {entry.outcome for entry in entries.values()} == {"finished"}
        assert exchange == answer.parts[0].exchange
        proxy, worker = (overlay.nodes[name].identity.peer_id for name in ("proxy", "worker-1"))
        assert entries["client"].peer == entries["worker"].peer == proxy
        assert entries["proxy"].peer == worker
        assert entries["client"].expense == answer.cost
        assert entries["client"].completion_tokens == len(WORDS)
        for entry in entries.values():
            assert entry.first_token_seconds is not None
            assert 0 < entry.first_token_seconds < entry.seconds


async def test_an_answer_that_is_left_is_noted_as_cancelled_with_what_was_charged(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with network(ScriptedEngine(("tick ",) * 1000, delay_seconds=0.1)) as overlay:
        async with overlay.client.chat("scripted", HELLO, completion_tokens_max=900) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 5:
                    break

        ((_, entries),) = by_role(overlay).items()
        check_agreement(entries)
        check_totals(overlay)
        assert {entry.outcome for entry in entries.values()} == {"cancelled"}
        assert entries["client"].completion_tokens >= 5


async def test_an_engine_that_fails_is_noted_by_its_code_and_without_a_prompt(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with network(ScriptedEngine(WORDS, fail_at=3)) as overlay:
        assert isinstance(await ask(overlay), CocoonError)

        ((_, entries), *_) = by_role(overlay).items()
        check_agreement(entries)
        check_totals(overlay)
        assert {entry.outcome for entry in entries.values()} == {"engine-failed"}
        assert (entries["client"].prompt_tokens, entries["client"].completion_tokens) == (0, 3)


async def test_what_a_worker_refuses_once_it_has_a_slot_for_it_is_noted_and_cost_nothing(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with network() as overlay:
        too_long = ({"role": "user", "content": "a " * 5000},)
        async with overlay.client.chat("scripted", HELLO) as answer:
            await answer.read()
        assert isinstance(await ask(overlay, too_long), CocoonError)

        entries = list(by_role(overlay).values())[1]
        check_agreement(entries)
        assert {entry.outcome for entry in entries.values()} == {"too-large"}
        assert all(entry.first_token_seconds is None for entry in entries.values())
        assert entries["client"].expense == 0


@pytest.mark.parametrize(
    "policy",
    [
        Policy(trust=Trust.OPEN, max_cost=Nano(10)),
        Policy(trust=Trust.TDX, proxy_trust=Trust.OPEN, max_cost=Nano(10**9)),
    ],
)
async def test_what_is_refused_before_a_quote_is_used_is_no_exchange(
    policy: Policy, autojump_clock: trio.abc.Clock
) -> None:
    async with network(client_policy=policy) as overlay:
        assert isinstance(await ask(overlay), CocoonError)
        await settle(overlay)

        assert by_role(overlay) == {}


async def test_an_answer_that_goes_on_elsewhere_names_the_exchange_that_it_continues(
    autojump_clock: trio.abc.Clock,
) -> None:
    engines = [ScriptedEngine(MANY, delay_seconds=0.05) for _ in range(2)]
    async with network(*engines) as overlay:
        names = {node.identity.peer_id: name for name, node in overlay.nodes.items()}
        lost = ""
        async with overlay.client.chat("scripted", HELLO, timeout_seconds=60) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 8 and not lost and answer.worker is not None:
                    lost = names[answer.worker]
                    overlay.kill(lost)
        await overlay.restart(lost)
        await settle(overlay)

        broken, gone_on = by_role(overlay).values()
        assert broken["client"].outcome == broken["proxy"].outcome == "lost"
        check_agreement(gone_on)
        assert gone_on["worker"].outcome == "finished"
        assert {entry.continues for entry in gone_on.values()} == {broken["client"].exchange}
        assert broken["client"].completion_tokens == broken["proxy"].completion_tokens
        assert broken["client"].expense == broken["proxy"].income
        check_totals(overlay)


async def test_an_exchange_that_a_client_cannot_write_down_is_noted_as_lost(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = PayingAccount.charge

    async with network() as overlay:
        proxy = overlay.nodes["proxy"].identity.peer_id

        async def fail(account: PayingAccount, *args: Any) -> None:
            if account.payee == proxy:
                raise Unavailable("the disk is full")
            await charge(account, *args)

        with monkeypatch.context() as disk:
            disk.setattr(PayingAccount, "charge", fail)
            async with overlay.client.chat("scripted", HELLO) as answer:
                with pytest.raises(CocoonError):
                    await answer.read()

        (entry,) = noted(overlay, "client")
        assert (entry.outcome, entry.expense) == ("lost", 0)


@pytest.mark.slow
async def test_whoever_loses_a_race_is_noted_as_cancelled_by_all(autojump_clock: trio.abc.Clock) -> None:
    slow = ScriptedEngine(WORDS, prefill_seconds=20.0, prefill_steps=4)
    always = Policy(trust=Trust.OPEN, max_cost=Nano(10**9), hedges_per_thousand=1000)
    async with network(slow, ScriptedEngine(WORDS), client_policy=always) as overlay:
        slow_one = overlay.nodes["worker-1"].identity.peer_id
        while not noted(overlay, "worker-1"):
            async with overlay.client.chat("scripted", HELLO, prefer="fast") as answer:
                await answer.read()
        await settle(overlay)

        (second,) = [entry for entry in noted(overlay, "client") if entry.beside is not None]
        assert [part.exchange for part in answer.parts if part.has_lost] == [second.beside]
        for entries in by_role(overlay).values():
            check_agreement(entries)
            has_lost = entries["proxy"].peer == slow_one
            assert {entry.outcome for entry in entries.values()} == {"cancelled" if has_lost else "finished"}
        check_totals(overlay)


@pytest.mark.long
async def test_what_a_proxy_asks_for_its_own_sake_is_an_expense_and_no_income(
    autojump_clock: trio.abc.Clock,
) -> None:
    engine = ScriptedEngine(tuple(f" {number}" for number in range(30)))
    asking = ProxyPolicy(canary_budget=Nano(10**9))
    async with network(engine, proxy_policy=asking) as overlay:
        await trio.sleep(60)

        own = noted(overlay, "proxy")
        assert own
        assert noted(overlay, "client") == []
        assert {entry.income for entry in own} == {0}
        worker = {entry.exchange: entry.income for entry in noted(overlay, "worker-1")}
        assert {entry.exchange: entry.expense for entry in own} == worker
        assert sum(worker.values()) > 0


@pytest.mark.long
@pytest.mark.parametrize("fate", [Fate.RESET, Fate.LOSE])
@pytest.mark.parametrize("target", range(WRITES))
async def test_whatever_is_lost_on_the_way_what_was_noted_adds_up_to_the_ledgers(
    target: int, fate: Fate, autojump_clock: trio.abc.Clock
) -> None:
    async with network(ScriptedEngine(WORDS), ScriptedEngine(WORDS)) as overlay:
        overlay.network.fault = hit(target, fate)
        await ask(overlay)
        await settle(overlay)

        check_totals(overlay)
        for entries in by_role(overlay).values():
            assert "client" in entries


@pytest.mark.long
@pytest.mark.parametrize("name", ["proxy", "worker-1"])
@pytest.mark.parametrize("target", range(12, WRITES))
async def test_whoever_is_killed_the_client_has_noted_what_it_was_charged(
    name: str, target: int, autojump_clock: trio.abc.Clock
) -> None:
    async with network() as overlay:
        overlay.network.fault, dead = kill_at(overlay, name, target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, overlay)
            with trio.move_on_after(10):
                await dead.wait()
                await trio.sleep(3)
                await overlay.restart(name)
        await settle(overlay)

        assert sum(entry.expense for entry in noted(overlay, "client")) == overlay.paid()[0]
