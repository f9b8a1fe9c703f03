"""A server that does what servers do on bad days."""

import gzip

import pytest
import trio
import trio.lowlevel
import trio.testing

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    EngineError,
    Finish,
    GenerateRequest,
    ModelUnknown,
    Piece,
)
from cocoon_p2p.inference.upstream import Upstream, health, open_upstream, opening, pace, probing, trying
from tests.inference.upstream.scene import DONE, Script, say, scripted_server, step, words

BOUND_SECONDS = 60
SECRET = "my secret words"


def ask(*, tokens: int = 5, stop: tuple[str, ...] = ()) -> GenerateRequest:
    return GenerateRequest(
        "scripted", (ChatMessage("user", SECRET),), completion_tokens_max=tokens, stop=stop
    )


@pytest.fixture(autouse=True)
def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these servers can do beside is no matter here."""
    monkeypatch.setattr(probing, "PROBES_SECONDS", 0.0)


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


async def test_every_step_is_counted_as_the_server_counts() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        script.events = lambda _: [
            step("two tokens", tokens=2), step(" more", tokens=3), step("", tokens=4, finish="stop"), DONE
        ]  # fmt: skip
        pieces = await pieces_of(engine, ask())

    assert [(piece.text, piece.completion_tokens) for piece in pieces] == [
        ("two tokens", 2), (" more", 3), ("", 4)
    ]  # fmt: skip
    assert pieces[-1].finish is Finish.STOP
    assert pieces[-1].prompt_tokens == 3


async def test_a_server_that_counts_only_in_the_end_is_counted_by_its_steps_until_then() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        script.events = lambda _: [
            step("a"), step(" b"), step("", finish="length"),
            say({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}), DONE,
        ]  # fmt: skip
        pieces = await pieces_of(engine, ask())

    assert [piece.completion_tokens for piece in pieces] == [1, 2, 5]
    assert pieces[-1].finish is Finish.LENGTH


async def test_what_was_counted_is_what_is_sent_and_prefixes_are_cached_for_one_scope_only() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        for scope in (b"one", b"two"):
            request = GenerateRequest("scripted", prompt="one three fiver", cache_scope=scope)
            await pieces_of(engine, request)
        counted = await engine.count(request)

    first, second = script.requests[-2:]
    assert first["prompt"] == [3, 5, 5]
    assert counted.prompt_tokens == 3
    assert first["cache_salt"] != second["cache_salt"]


FAULTS = {
    "it is cut before the end": Script(events=lambda _: [step("a", tokens=1)], is_cut=True),
    "it ends without an end": Script(events=lambda _: [step("a", tokens=1), DONE]),
    "it is silent at once": Script(events=lambda _: []),
    "half of an event": Script(events=lambda _: [b'data: {"choices": [{"te'], is_cut=True),
    "no JSON": Script(events=lambda _: [b"data: <html>\n\n", DONE]),
    "no completions": Script(events=lambda _: [say({"choices": 5}), DONE]),
    "no UTF-8": Script(events=lambda _: [b'data: {"choices": [{"text": "\xff"}]}\n\n', DONE]),
    "it says that it failed": Script(events=lambda _: [say({"error": {"message": SECRET}})]),
    "it counts more than was asked for": Script(events=lambda _: [step("a", tokens=6), DONE]),
    "it goes on after its end": Script(
        events=lambda _: [step("a", tokens=1, finish="stop"), step("b", tokens=2), DONE]
    ),
    "too many requests": Script(status=429),
    "it is broken": Script(status=500),
    "it takes no such request": Script(status=400),
}

STREAM = ("content-type", "text/event-stream")
LAST = step("a", tokens=1, finish="stop") + DONE
# All would end well, were they read to their end.
HOSTILE = {
    "a line that has no end": Script(events=lambda _: [b": "] + [b"a" * 60_000] * 40 + [b"\n", LAST]),
    "bytes that stand for many more": Script(
        headers=(STREAM, ("content-encoding", "gzip")),
        events=lambda _: [gzip.compress(b":" * (1 << 20) + b"\n" + LAST)],
    ),
    "an encoding that is none": Script(
        headers=(("content-type", "text/event-stream; charset=zlib"),), events=lambda _: [DONE]
    ),
}


@pytest.mark.parametrize("fault", [*FAULTS.values(), *HOSTILE.values()], ids=[*FAULTS, *HOSTILE])
async def test_a_fault_is_an_error_that_quotes_nobody(fault: Script) -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        script.events, script.status, script.is_cut = fault.events, fault.status, fault.is_cut
        script.headers = fault.headers

        with pytest.raises(EngineError) as raised:
            await pieces_of(engine, ask())

    assert SECRET not in str(raised.value)
    assert "[2, 6, 5]" not in str(raised.value)


@pytest.mark.parametrize("odd", [b"retry: 3000\n\n", b"id: 5\n\n: alive\n\n", b"event: ping\n\n"])
async def test_what_only_keeps_the_line_alive_is_no_step(odd: bytes) -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        script.events = lambda asked: [odd, *words(asked)]

        assert len(await pieces_of(engine, ask())) == 6


async def test_cookies_are_not_kept() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        script.headers = (STREAM, ("set-cookie", "machine=7; Path=/"))
        await pieces_of(engine, ask())
        await pieces_of(engine, ask())

    assert not any(name == b"cookie" for head in script.heads for name, _ in head.headers)


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "IDLE_SECONDS", 0.0)
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        before, asked = script.connections, len(script.heads)
        await pieces_of(engine, ask())
        await pieces_of(engine, ask())

    assert script.connections - before == len(script.heads) - asked


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            monkeypatch.setattr(pace, "STEP_SECONDS", 0.05)
            script.hangs_after = 2
            with pytest.raises(EngineError, match="no step"):
                await pieces_of(engine, ask())


async def test_leaving_hangs_up() -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address), slots=1) as engine:
            script.hangs_after = 2
            async with engine.generate(ask()) as pieces:
                await anext(pieces)
            await script.hung_up.wait()


async def test_a_cancel_hangs_up_and_gives_the_slot_back() -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address), slots=1) as engine:
            script.hangs_after = 2
            with trio.CancelScope() as scope:
                async with engine.generate(ask()) as pieces:
                    async for _ in pieces:
                        if _.completion_tokens == 2:
                            scope.cancel()
            await script.hung_up.wait()
            script.hangs_after = None

            assert len(await pieces_of(engine, ask())) == 6


async def test_what_still_runs_when_the_engine_is_closed_fails_as_an_engine_does() -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.hangs_after = 2
            with pytest.raises(EngineError):
                async with engine.generate(ask()) as pieces:
                    await anext(pieces)
                    await engine.aclose()
                    async for _ in pieces:
                        pass
            with pytest.raises(EngineError, match="closed"):
                await engine.count(ask())


async def test_a_stop_string_ends_it_and_is_not_delivered() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        pieces = await pieces_of(engine, ask(stop=(" w3",)))

    assert "".join(piece.text for piece in pieces) == " w1 w2"
    assert (pieces[-1].finish, pieces[-1].completion_tokens) == (Finish.STOP, 2)


async def test_a_server_that_fails_takes_no_work_until_it_computes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.01)
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status = 500
            with pytest.raises(EngineError):
                await pieces_of(engine, ask())
            with pytest.raises(EngineError, match="down"):
                await engine.count(ask())

            script.status = 200
            while True:
                try:
                    counted = await engine.count(ask())
                    break
                except EngineError:
                    await trio.lowlevel.checkpoint()

    assert counted.prompt_tokens == 3


async def test_a_request_that_the_server_refuses_keeps_nobody_else_out() -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status = 400
            with pytest.raises(EngineError, match="refuses"):
                await pieces_of(engine, ask())
            script.status = 200

            assert (await engine.count(ask())).prompt_tokens == 3


async def test_a_server_that_refuses_everything_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.01)
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status = 400
            with pytest.raises(EngineError, match="refuses"):
                await pieces_of(engine, ask())

            with pytest.raises(EngineError, match="down"):
                while True:
                    await engine.count(ask())
                    await trio.lowlevel.checkpoint()


async def test_a_server_that_is_busy_with_a_long_answer_is_not_asked_to_prove_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    looks = list[float]()

    async def compute() -> None:
        looks.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        at = health.Health(compute)
        nursery.start_soon(at.watch)
        for _ in range(10):
            await trio.sleep(health.LOOK_SECONDS / 2)
            at.succeeded()
        assert looks == []
        await trio.sleep(health.LOOK_SECONDS + 1)
        assert len(looks) == 1
        nursery.cancel_scope.cancel()


async def test_each_step_of_an_answer_shows_that_the_server_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = list[health.Health]()

    def succeeded(which: health.Health) -> None:
        steps.append(which)

    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            monkeypatch.setattr(health.Health, "succeeded", succeeded)
            script.hangs_after = 2
            async with engine.generate(ask()) as pieces:
                await anext(pieces)
                await anext(pieces)
                assert len(steps) == 2


async def test_a_server_that_trickles_does_not_hold_up_the_look_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.01)
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            monkeypatch.setattr(trying, "ONE_TOKEN_SECONDS", 0.2)
            script.hangs_after = 0
            with pytest.raises(EngineError, match="down"):
                while True:
                    await engine.count(ask())
                    await trio.lowlevel.checkpoint()


async def test_what_was_counted_is_sent_also_if_the_server_would_split_it_otherwise_by_now() -> None:
    script = Script()
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        counted = await engine.count(ask())
        script.split = lambda _: [1] * 50
        pieces = await pieces_of(engine, ask(tokens=2))

    assert counted.prompt_tokens == pieces[-1].prompt_tokens == 3
    assert script.requests[-1]["prompt"] == [2, 6, 5]


def test_a_key_is_not_shown_with_its_server() -> None:
    assert SECRET not in repr(Upstream("http://127.0.0.1", api_key=SECRET))


async def test_another_model_is_unknown() -> None:
    async with scripted_server(Script()) as address, open_upstream(Upstream(address)) as engine:
        with pytest.raises(ModelUnknown):
            await engine.count(GenerateRequest("another", prompt="Hello"))


async def refused(script: Script, **options: str) -> ConfigurationError:
    async with scripted_server(script) as address:
        with pytest.raises(ConfigurationError) as raised:
            async with open_upstream(Upstream(address, **options)):
                raise AssertionError("it must not open")
    return raised.value


async def test_of_several_models_one_must_be_named() -> None:
    error = await refused(Script(models=("a", "b")))

    assert "2 models" in str(error)
    assert "models=a, b" in str(error)
    assert "upstream.model" in (error.hint or "")


async def test_a_model_that_it_has_not_is_said() -> None:
    assert "no model 'c'" in str(await refused(Script(models=("a", "b")), model="c"))


async def test_the_one_that_is_named_is_taken() -> None:
    script = Script(models=("org/A-model.gguf", "b"))
    async with (
        scripted_server(script) as address,
        open_upstream(Upstream(address + "/v1/", model="org/A-model.gguf")) as engine,
    ):
        assert engine.capabilities.models[0].name == "a-model"
        assert script.requests[0]["model"] == "org/A-model.gguf"


async def test_a_server_that_computes_other_prompts_than_it_counts_is_refused() -> None:
    def longer(request: object) -> list[bytes]:
        return [step("a", tokens=1, prompt=5), step("", tokens=1, prompt=5, finish="stop"), DONE]

    assert "4 tokens as 5" in str(await refused(Script(events=longer)))


async def test_a_server_that_never_counts_is_refused() -> None:
    script = Script(events=lambda _: [step("a"), step("", finish="stop"), DONE])

    assert "how many tokens" in str(await refused(script))


async def test_a_long_prompt_that_is_split_into_nothing_is_no_measure() -> None:
    script = Script(split=lambda text: [len(word) for word in text.split()] if len(text) < 1000 else [])
    async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
        assert (await engine.count(ask())).prompt_tokens == 3


async def test_a_context_that_cannot_be_is_not_believed() -> None:
    error = await refused(Script(context_tokens=10**30))

    assert "how long its context is" in str(error)


async def test_a_server_that_splits_nothing_is_refused() -> None:
    assert "does not split text" in str(await refused(Script(split=lambda _: [])))


async def test_nobody_there_is_said_with_the_address() -> None:
    async with scripted_server(Script()) as address:
        pass
    with pytest.raises(ConfigurationError, match="not reached") as raised:
        async with open_upstream(Upstream(address)):
            raise AssertionError("it must not open")
    assert address in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "http://me:secret@host",
        "http://host/?q",
        "a host",
        "http://me:secret@host?q",
        "http://host/?key=secret",
        "http://[host",
        "http://host:99999",
        "http://ho\nst",
        "htp://host/secret",
    ],
)
async def test_what_is_no_address_of_a_server_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        async with open_upstream(Upstream(url)):
            raise AssertionError("it must not open")
    assert "secret@" not in str(raised.value)
    assert "=secret" not in str(raised.value)
