"""Prompts between their count and their generation."""

from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import GenerateRequest


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
