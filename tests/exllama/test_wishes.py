"""What is wished for beyond text, on ExLlamaV2's own generator: in pages, one at a time, and drafted."""

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from cocoon_p2p.inference.engine import Engine, EngineError, Finish, RequestMalformed
from cocoon_p2p.inference.exllama import form as form_module
from cocoon_p2p.inference.exllama.loading import Placement
from cocoon_p2p.inference.exllama.splitting import Splitter
from cocoon_p2p.inference.wishes import Constraint, Grammar
from tests.exllama.asking import BOUND_SECONDS, chat, pieces_of, text
from tests.exllama.conftest import Bench

WORKER = "A worker is a computer in the network that runs a model and answers questions for pay."
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["client", "proxy", "worker"]},
        "sizes": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 99},
            "minItems": 2,
            "maxItems": 2,
        },
    },
    "required": ["name", "kind", "sizes"],
    "additionalProperties": False,
}


@pytest.fixture(params=["in pages", "one at a time", "drafted"])
async def engine(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    drafted = request.param == "drafted"
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(paged=request.param != "one at a time", draft_ngram=drafted) as engine:
            yield engine


# ---------------------------------------------------------------- forms


async def test_an_answer_has_the_schema_that_was_asked_for(engine: Engine) -> None:
    wish = Constraint(Grammar.JSON_SCHEMA, json.dumps(SCHEMA))
    for request in (chat("Hello", constraint=wish), chat("Hello", constraint=wish, temperature=1.5, seed=3)):
        pieces = await pieces_of(engine, request)

        answer = json.loads(text(pieces))
        assert set(answer) == {"name", "kind", "sizes"}
        assert answer["kind"] in ("client", "proxy", "worker")
        assert len(answer["sizes"]) == 2
        assert pieces[-1].finish is Finish.STOP


async def test_an_answer_is_any_object_where_any_will_do(engine: Engine) -> None:
    wish = Constraint(Grammar.JSON_OBJECT)
    pieces = await pieces_of(engine, chat("Hello", constraint=wish, completion_tokens_max=400))

    assert text(pieces).startswith("{")
    assert pieces[-1].finish is Finish.LENGTH or isinstance(json.loads(text(pieces)), dict)


async def test_an_answer_matches_a_regular_expression_whole(engine: Engine) -> None:
    wish = Constraint(Grammar.REGEX, r"(yes|no), [0-9]{3} times")
    pieces = await pieces_of(engine, chat("Hello", constraint=wish))

    word, _, rest = text(pieces).partition(", ")
    assert word in ("yes", "no")
    assert rest[:3].isdigit()
    assert rest[3:] == " times"


async def test_a_continuation_keeps_the_form_that_it_began_with(engine: Engine) -> None:
    wish = Constraint(Grammar.JSON_SCHEMA, json.dumps(SCHEMA))
    begun = '{"name": "Anna", "kind": "cl'
    pieces = await pieces_of(engine, chat("Hello", constraint=wish, answer_prefix=begun))

    assert json.loads(begun + text(pieces))["kind"] == "client"


async def test_what_cannot_be_kept_to_is_refused_before_payment(engine: Engine) -> None:
    refused = {
        "no JSON": Constraint(Grammar.JSON_SCHEMA, "{"),
        "no schema": Constraint(Grammar.JSON_SCHEMA, '{"type": "number of things"}'),
        "no expression": Constraint(Grammar.REGEX, "(a"),
        "another server": Constraint(Grammar.JSON_SCHEMA, '{"$ref": "http://127.0.0.1:1/schema"}'),
        "too long": Constraint(Grammar.REGEX, "a" * 100_000),
        "too deep": Constraint(Grammar.JSON_SCHEMA, '{"items": ' * 5000 + "{}" + "}" * 5000),
    }
    for wish in refused.values():
        with pytest.raises(RequestMalformed) as raised:
            await engine.count(chat("Hello", constraint=wish))
        assert raised.value.code == "malformed"
    with pytest.raises(RequestMalformed, match="has not the form"):
        await engine.count(chat("Hello", constraint=Constraint(Grammar.REGEX, "ab"), answer_prefix="x"))


async def test_what_a_schema_says_and_nobody_keeps_is_refused_by_name(engine: Engine) -> None:
    wish = Constraint(Grammar.JSON_SCHEMA, '{"not": {"type": "object"}}')

    with pytest.raises(RequestMalformed, match="not taken here: not"):
        await engine.count(chat("Hello", constraint=wish))


@pytest.mark.parametrize(
    "expression",
    ["((((((a{99}){99}){99}){99}){99}){99}){99}", "(a|b)*a(a|b){400}", "(x+x+)+y", "[^c]{1,2000}"],
)
async def test_an_expression_that_could_take_for_ever_stops_nobody(bench: Bench, expression: str) -> None:
    wish = Constraint(Grammar.REGEX, expression)
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine:
            try:
                request = chat("Hello", constraint=wish, completion_tokens_max=40)
                await engine.count(request)
                assert (await pieces_of(engine, request))[-1].finish is not None
            except RequestMalformed:
                pass

            assert text(await pieces_of(engine, chat("What is a worker?"))) == WORKER


async def test_a_form_that_takes_too_long_fails_its_own_answer_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine, engine.generate(chat("What is a worker?")) as other:
            # Each look takes a second.
            monkeypatch.setattr(form_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
            with pytest.raises(EngineError, match="takes too long"):
                await pieces_of(engine, chat("Hello", constraint=Constraint(Grammar.REGEX, "a{9}")))

            assert "".join([piece.text async for piece in other]) == WORKER


async def test_a_schema_that_takes_for_ever_is_refused_before_it_is_read(bench: Bench) -> None:
    schema = {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (7, 11, 13, 17, 19, 23)]}
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine:
            for each in (schema, schema["allOf"][0]):
                with pytest.raises(RequestMalformed):
                    await engine.count(
                        chat("Hello", constraint=Constraint(Grammar.JSON_SCHEMA, json.dumps(each)))
                    )


# ---------------------------------------------------------------- banned strings


async def test_what_is_banned_is_never_said_and_never_taken_back(engine: Engine) -> None:
    for banned in ("network", "computer in", " model"):
        pieces = await pieces_of(engine, chat("What is a worker?", banned=(banned,)))

        assert banned in WORKER
        assert banned not in text(pieces)
        assert text(pieces).startswith(WORKER.partition(banned)[0].rstrip())
        assert pieces[-1].completion_tokens <= 256


async def test_what_is_banned_is_not_said_at_the_limit_either(engine: Engine) -> None:
    for limit in range(1, 14):
        pieces = await pieces_of(
            engine, chat("What is a worker?", banned=("network",), completion_tokens_max=limit)
        )

        assert "network" not in text(pieces)
        assert pieces[-1].completion_tokens <= limit


async def test_what_is_not_said_changes_nothing_by_being_banned(engine: Engine) -> None:
    free = await pieces_of(engine, chat("What is a worker?"))
    banned = await pieces_of(engine, chat("What is a worker?", banned=("netw0rk", "workers")))

    assert text(banned) == text(free)
    assert banned[-1] == free[-1]


@pytest.mark.on_processor
@pytest.mark.parametrize("paged", [True, False], ids=["in pages", "one at a time"])
async def test_going_back_does_not_compute_the_prompt_anew(bench: Bench, paged: bool) -> None:
    question = chat("Hello. " * 60 + "What is a worker?", completion_tokens_max=24)
    with trio.fail_after(BOUND_SECONDS):
        loaded = bench.load(Placement(1, 512), paged=paged)
        async with bench.open(loaded, slots=1) as engine:
            pieces = await pieces_of(engine, question)
            words, prompt_tokens = text(pieces), pieces[-1].prompt_tokens
            before = loaded.model.tokens
            other = await pieces_of(engine, replace(question, banned=(words[-4:],), cache_scope=b"1"))

    assert words[-4:] not in text(other)
    # Without pages nothing is computed again, in pages what lies beyond the last whole one.
    assert loaded.model.tokens - before < prompt_tokens + 24 + 16 + (256 if paged else 0)


async def test_who_bans_every_letter_gets_an_end(engine: Engine) -> None:
    letters = tuple(map(chr, range(32, 127)))
    pieces = await pieces_of(engine, chat("What is a worker?", banned=letters))

    assert not set(text(pieces)) & set(letters)
    assert pieces[-1].finish is not None


async def test_a_form_is_kept_also_where_words_are_banned(engine: Engine) -> None:
    wish = Constraint(Grammar.REGEX, "(worker|proxy|client)")
    first = text(await pieces_of(engine, chat("Hello", constraint=wish)))
    other = text(await pieces_of(engine, chat("Hello", constraint=wish, banned=(first,))))

    assert other in {"worker", "proxy", "client"} - {first}


async def test_likelihoods_belong_to_what_was_said_where_words_are_banned(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("What is a worker?", banned=("network",), logprobs=0))

    told = b"".join(each.chosen.token for piece in pieces for each in piece.logprobs)
    assert told.decode() == text(pieces)


# ---------------------------------------------------------------- ends


async def test_a_limit_inside_a_character_leaves_it_out_and_charges_nothing_for_it(engine: Engine) -> None:
    question = "Translate to Russian: Good morning."
    whole = text(await pieces_of(engine, chat(question)))
    for limit in range(1, 6):
        pieces = await pieces_of(engine, chat(question, completion_tokens_max=limit, logprobs=0))

        told = b"".join(each.chosen.token for piece in pieces for each in piece.logprobs)
        assert whole.startswith(text(pieces))
        # A token may end one character and begin the next.
        assert told.decode(errors="ignore") == text(pieces)
        assert pieces[-1].completion_tokens == sum(len(piece.logprobs) for piece in pieces) <= limit


async def test_bytes_that_are_no_text_hold_nothing_back(bench: Bench, engine: Engine) -> None:
    byte = Splitter(bench.folder).vocabulary()["Ģ"]
    pieces = await pieces_of(
        engine, chat("Hello", logit_bias=((byte, 100.0),), completion_tokens_max=4, logprobs=0)
    )

    assert text(pieces) == 4 * "\N{REPLACEMENT CHARACTER}"
    assert [piece.completion_tokens for piece in pieces if piece.text] == [1, 2, 3, 4]


async def test_a_stop_string_right_before_the_end_fails_nobody(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        # It guesses right, and several tokens come at once.
        async with bench.open(draft=bench.folder) as engine:
            for limit in range(7, 12):
                request = chat("What is a worker?", stop=("in the",), completion_tokens_max=limit)
                answer = text(await pieces_of(engine, request))

                assert WORKER.partition("in the")[0].startswith(answer)


# ---------------------------------------------------------------- likelihoods


async def test_likelihoods_are_told_of_each_token_that_is_delivered(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("Translate to Russian: Good morning.", logprobs=3))

    told = [each for piece in pieces for each in piece.logprobs]
    assert b"".join(each.chosen.token for each in told).decode() == text(pieces)
    # The token that ends an answer has no text.
    assert len(told) == pieces[-1].completion_tokens - 1
    for each in told:
        assert len(each.top) == 3
        assert each.top[0] == each.chosen
        assert [top.logprob for top in each.top] == sorted((top.logprob for top in each.top), reverse=True)
        assert each.chosen.logprob <= 0


async def test_no_likelihood_is_told_of_what_a_stop_string_cuts(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("What is a worker?", logprobs=0, stop=("network",)))

    told = [each for piece in pieces for each in piece.logprobs]
    assert text(pieces) == WORKER.partition("network")[0]
    assert len(told) == pieces[-1].completion_tokens
    counts = itertools.accumulate(len(piece.logprobs) for piece in pieces)
    assert list(counts) == [piece.completion_tokens for piece in pieces]


async def test_likelihoods_are_the_model_s_own_whatever_is_drawn(engine: Engine) -> None:
    plain = await pieces_of(engine, chat("Hello", logprobs=0, completion_tokens_max=1))
    (token,) = (each.chosen for piece in plain for each in piece.logprobs)
    hot = await pieces_of(
        engine, chat("Hello", logprobs=1, completion_tokens_max=1, temperature=1.9, top_p=0.9, seed=5)
    )

    (likeliest,) = (each.top[0] for piece in hot for each in piece.logprobs)
    assert likeliest.token == token.token
    assert likeliest.logprob == pytest.approx(token.logprob, abs=1e-3)


# ---------------------------------------------------------------- biases and penalties


async def test_a_bias_forbids_and_forces(bench: Bench, engine: Engine) -> None:
    tokens = Splitter(bench.folder).vocabulary()
    assert text(await pieces_of(engine, chat("Hello", completion_tokens_max=1))) == "Hello"

    forbidden = await pieces_of(engine, chat("Hello", logit_bias=((tokens["Hello"], -100.0),)))
    forced = await pieces_of(
        engine, chat("Hello", logit_bias=((tokens["a"], 100.0),), completion_tokens_max=3)
    )
    assert not text(forbidden).startswith("Hello")
    assert text(forced) == "aaa"


async def test_a_bias_for_no_token_of_the_model_is_refused(engine: Engine) -> None:
    for token in (-1, 1536, 1 << 40):
        with pytest.raises(RequestMalformed, match=r"no such token|out of range"):
            await engine.count(chat("Hello", logit_bias=((token, 1.0),)))


async def test_penalties_are_of_what_was_answered_and_not_of_what_was_asked(engine: Engine) -> None:
    question = "What is a worker?"
    penalised = await pieces_of(engine, chat(question, presence_penalty=2.0, completion_tokens_max=4))
    plain = await pieces_of(engine, chat(question, completion_tokens_max=4))
    assert text(penalised) == text(plain)


async def test_equal_seeds_give_equal_answers_with_all_wishes_at_once(engine: Engine) -> None:
    request = chat(
        "What is a worker?", temperature=1.3, seed=11, banned=("network",), logprobs=2,
        presence_penalty=0.5, logit_bias=((300, -3.0),), completion_tokens_max=40,
    )  # fmt: skip

    assert text(await pieces_of(engine, request)) == text(await pieces_of(engine, request))
