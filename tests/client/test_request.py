"""What an application may ask, and how long a prompt can be at most."""

from collections.abc import Mapping
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client import Policy, parse_trust
from cocoon_p2p.client.bounds import prompt_tokens_bound
from cocoon_p2p.client.messages import read_messages
from cocoon_p2p.client.request import build_ask, build_request
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.contents import ChatTurn, encode_request
from cocoon_p2p.protocols.ids import Preference, Trust
from cocoon_p2p.protocols.messages import ExchangeId

DEMO_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = st.lists(
    st.builds(ChatTurn, st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1, max_size=6
)


@pytest.mark.slow
@given(TURNS)
def test_no_rendered_chat_has_more_bytes_than_the_bound_has_tokens(turns: list[ChatTurn]) -> None:
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    rendered = jinja2.Template(DEMO_TEMPLATE).render(messages=messages, add_generation_prompt=True)

    made = build_request("m", {}, Policy(), messages=tuple(turns))
    assert len(rendered.encode()) <= made.prompt_tokens_bound


def test_the_bound_of_a_bare_prompt_is_its_bytes_and_what_may_stand_around_it() -> None:
    assert build_request("m", {}, Policy(), prompt="äß").prompt_tokens_bound == 4 + 128


@given(text=st.text(max_size=3000))
def test_what_the_proxy_is_told_of_a_prompt_is_no_closer_than_its_padded_length(text: str) -> None:
    request = build_request("m", {}, Policy(), prompt=text)
    exact = prompt_tokens_bound(request.content)

    assert request.prompt_tokens_max in (256, *range(1024, 16 * 1024, 1024))
    assert exact <= request.prompt_tokens_max < max(exact + 1024, 1025)


@pytest.mark.parametrize(
    ("text", "trust"), [("open", Trust.OPEN), ("TDX", Trust.TDX), ("tdx+gpu", Trust.TDX_GPU)]
)
def test_trust_is_read_as_people_write_it(text: str, trust: Trust) -> None:
    assert parse_trust(text) is trust


def request(**wishes: Any) -> Any:
    return build_request("demo", Wishes(**wishes), Policy(), messages=read_messages([ChatTurn("user", "Hi")]))


def test_what_a_request_leaves_out_is_the_policy_s() -> None:
    made = request()

    assert (made.max_cost, made.trust, made.timeout_seconds) == (100_000_000, Trust.TDX, 120.0)
    assert made.content.completion_tokens_max == 256
    assert made.features == ()


@pytest.mark.parametrize(
    ("wishes", "features"),
    [
        ({"temperature": 0.5}, ("temperature",)),
        ({"top_p": 0.5}, ("temperature",)),
        ({"seed": 0}, ("seed",)),
        ({"stop": ["x"]}, ("stop",)),
        ({"ignore_eos": True}, ("ignore-eos",)),
    ],
)
def test_what_not_every_engine_can_do_is_asked_for_by_name(
    wishes: Mapping[str, Any], features: tuple[str, ...]
) -> None:
    assert request(**wishes).features == features


@pytest.mark.parametrize(
    "wishes",
    [
        {"max_cost": -1},
        {"max_cost": 2**63},
        {"completion_tokens_max": 0},
        {"temperature": 101},
        {"top_p": 1.5},
        {"seed": -1},
        {"stop": ["x"] * 17},
        {"stop": ["x" * 257]},
        {"timeout_seconds": 0},
        {"timeout_seconds": 4000},
        {"weights": b"short"},
        {"weights": b""},
        {"weights": "ab" * 31},
        {"weights": "xy" * 32},
        {"weights_hash": bytes(32)},
        {"exclude": [b"peer"] * 33},
        {"prefer": [b"peer"] * 33},
        {"prefer": "best"},
        {"trust": "none"},
    ],
)
def test_a_wish_out_of_range_is_named(wishes: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        request(**wishes)


@pytest.mark.parametrize(
    ("prefer", "workers", "preference"),
    [
        ("cheap", (), Preference.CHEAP),
        ("fast", (), Preference.FAST),
        ("balanced", (), None),
        ([b"peer"], (b"peer",), None),
    ],
)
def test_what_is_preferred_is_a_word_or_workers(
    prefer: Any, workers: tuple[bytes, ...], preference: Preference | None
) -> None:
    made = request(prefer=prefer)
    ask = build_ask(
        made,
        exchange=ExchangeId(bytes(16)),
        max_cost=1,
        seconds_left=1,
        channel=None,
        prefer=made.prefer,
        exclude=(),
    )

    assert (ask.prefer, ask.preference) == (workers, preference)


def test_weights_are_pinned_by_the_request_or_else_by_the_policy() -> None:
    policy = Policy(weights={"demo": bytes(32)})
    turns = read_messages([{"role": "user", "content": "x"}])

    def pinned(model: str, **wishes: Any) -> bytes | None:
        return build_request(model, Wishes(**wishes), policy, messages=turns).weights_hash

    assert pinned("demo") == bytes(32)
    assert pinned("another") is None
    assert pinned("demo", weights="0f" * 32) == b"\x0f" * 32
    assert pinned("another", weights=b"\x0f" * 32) == b"\x0f" * 32


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"content": "x"}],
        [{"role": "r" * 33, "content": "x"}],
        [{"role": "user", "content": "\ud800"}],
        [{"role": "user", "content": "x" * (4 * 1024 * 1024 + 1)}],
        [{"role": "user", "content": "x"}] * 4097,
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(messages: list[dict[str, str]]) -> None:
    with pytest.raises(ConfigurationError):
        read_messages(messages)


def test_messages_that_are_too_long_together_are_refused() -> None:
    turns = read_messages([ChatTurn("user", "x" * (4 * 1024 * 1024))] * 3)

    with pytest.raises(ConfigurationError, match="too long"):
        build_request("demo", Wishes(), Policy(), messages=turns)


@pytest.mark.slow
@given(TURNS, st.floats(0, 100), st.floats(0, 1), st.none() | st.integers(0, 2**63 - 1))
def test_whatever_is_in_range_can_be_spelled(
    turns: list[ChatTurn], temperature: float, top_p: float, seed: int | None
) -> None:
    made = build_request(
        "demo",
        Wishes(temperature=temperature, top_p=top_p, seed=seed),
        Policy(),
        messages=read_messages(turns),
    )

    assert encode_request(made.content)
