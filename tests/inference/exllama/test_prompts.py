"""What was counted is what is computed, also where credit allows fewer tokens than were asked for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import trio

from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import Capabilities, Finish, GenerateRequest, ModelCard
from cocoon_p2p.inference.exllama.engine import ExllamaEngine
from cocoon_p2p.inference.exllama.form import Forms
from cocoon_p2p.inference.exllama.generator import Order, Step, Ticket
from cocoon_p2p.inference.exllama.splitting import Kind, Splitter
from cocoon_p2p.inference.exllama.thread import GeneratorThread

BOUND_SECONDS = 30


class OneToken:
    """A generator that ends each order at once, and remembers it."""

    def __init__(self) -> None:
        self.orders = list[Order]()
        self._waiting = list[Ticket]()

    def start(self, order: Order) -> Ticket:
        self.orders.append(order)
        self._waiting.append(len(self.orders))
        return len(self.orders)

    def cancel(self, ticket: Ticket) -> None:
        self._waiting.remove(ticket)

    def step(self) -> Sequence[Step]:
        tickets, self._waiting = self._waiting, []
        return [Step(ticket, text="a", tokens=1, finish=Finish.LENGTH) for ticket in tickets]

    def cached_tokens(self, prompt: Sequence[int], cache_scope: bytes) -> int:
        return 0

    def close(self) -> None:
        pass


class Drifting:
    """A tokenizer whose every answer is longer, as a template's that says the time may be."""

    def __init__(self) -> None:
        self.calls = 0

    def split(self, text: str, kind: Kind) -> list[int]:
        if kind is Kind.PLAIN:
            return []
        self.calls += 1
        return [7] * self.calls


async def test_a_prompt_is_split_once_also_if_fewer_tokens_are_allowed_than_were_asked_for() -> None:
    generator, splitter = OneToken(), Drifting()
    thread = GeneratorThread(lambda: generator)
    card = ModelCard("m", bytes(32), bytes(32), 100, frozenset())
    request = GenerateRequest("m", prompt="Hello", completion_tokens_max=50)
    with trio.fail_after(BOUND_SECONDS):
        await trio.to_thread.run_sync(thread.open)
        capabilities = Capabilities("exllamav2 0", (card,), 1)
        engine = ExllamaEngine(
            thread, capabilities, ChatTemplate(""), cast("Splitter", splitter), cast("Forms", None), 9
        )
        try:
            counted = await engine.count(request)
            async with engine.generate(replace(request, completion_tokens_max=3)) as pieces:
                last = [piece async for piece in pieces][-1]
        finally:
            await engine.aclose()

    assert counted.prompt_tokens == last.prompt_tokens == len(generator.orders[0].prompt) == 1
    assert generator.orders[0].tokens_max == 3
