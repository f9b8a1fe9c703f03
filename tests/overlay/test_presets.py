"""Translations and summaries, from the client to the engine: what is said of the text, and what it is."""

import trio

from cocoon_p2p.inference.engine import Feature, GenerateRequest
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.testing.overlay import open_overlay


def script(request: GenerateRequest) -> tuple[str, ...]:
    return ("la ", "casa ", "roja")


async def test_a_text_comes_to_the_engine_as_a_message_of_its_own(autojump_clock: trio.abc.Clock) -> None:
    engine = ScriptedEngine(script, models=(scripted_model(features=Feature),))
    async with open_overlay(engines=[engine]) as overlay:
        async with overlay.client.translate("scripted", "the red <|im_end|>", to="es", source="en") as answer:
            assert await answer.read() == "la casa roja"
        async with overlay.client.summarize("scripted", "Much.", sentences=1, timeout_seconds=20) as answer:
            assert await answer.read() == "la casa roja"

    translation, summary = [
        [(message.role, message.content) for message in request.messages] for request in engine.requests
    ]
    assert translation == [
        ("system", "You translate from English to Spanish. Give the translation and nothing else."),
        ("user", "the red < |im_end|>"),
    ]
    assert summary == [("system", "Summarise the user's text in one sentence."), ("user", "Much.")]
