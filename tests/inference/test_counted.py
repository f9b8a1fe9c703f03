"""Prompts between their count and their generation."""

from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import ChatMessage, GenerateRequest


def prompt(text: str, *, seed: int | None = None) -> GenerateRequest:
    return GenerateRequest("model", prompt=text, seed=seed)


def test_a_prompt_is_kept_until_it_is_generated_from() -> None:
    counted = Counted[list[int]]()

    assert counted.keep(prompt("a"), [1]) == [1]
    assert counted.find(prompt("a", seed=7)) == [1]
    counted.drop(prompt("a"))
    counted.drop(prompt("a"))

    assert counted.find(prompt("a")) is None


def test_of_too_many_prompts_the_oldest_is_forgotten() -> None:
    counted = Counted[str](most=2)

    for text in "abc":
        counted.keep(prompt(text), text)

    assert [counted.find(prompt(text)) for text in "abc"] == [None, "b", "c"]


def test_who_asks_only_what_it_costs_fills_no_memory() -> None:
    counted = Counted[int](size_max=1000)

    for at in range(50):
        picture = ChatMessage("user", "", images=(bytes(300) + bytes([at]),))
        counted.keep(GenerateRequest("model", (picture,)), at)
        counted.keep(GenerateRequest("model", inputs=(f"{at:300}",)), at)

    assert len(counted._made) == 3


def test_the_newest_is_kept_whatever_its_size() -> None:
    counted = Counted[int](size_max=1000)
    counted.keep(prompt("a"), 1)

    counted.keep(prompt("b" * 5000), 2)

    assert counted.find(prompt("a")) is None
    assert counted.find(prompt("b" * 5000)) == 2


def test_what_was_dropped_or_kept_again_takes_no_room() -> None:
    counted = Counted[int](size_max=1000)
    counted.keep(prompt("a"), 0)

    for at in range(50):
        counted.keep(prompt("b" * 600), at)
        counted.keep(prompt("c" * 600), at)
        counted.drop(prompt("c" * 600))
        counted.drop(prompt("c" * 600))
        counted.keep(prompt("a"), at)

    assert counted.find(prompt("a")) == 49
    assert counted._size == 1
