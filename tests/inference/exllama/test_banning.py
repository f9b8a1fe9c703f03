"""However an answer comes in bursts, what is said never holds a banned string, and is never taken back."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.exllama.banning import Burst, HeldBursts


def bursts(*texts: str) -> list[Burst]:
    return [Burst(text, (number,)) for number, text in enumerate(texts)]


def test_what_bans_nothing_is_said_at_once() -> None:
    held = HeldBursts(("cat",))
    for burst in bursts("dog", " and", ""):
        held, said, unsaid = held.take(burst)
        assert (said, unsaid) == ((burst,), ())


def test_a_banned_string_is_unsaid_from_the_burst_in_which_it_begins() -> None:
    one, two, three = bursts("a c", "a", "t!")
    held, said, _ = HeldBursts(("cat",)).take(one)
    assert said == ()
    held, said, _ = held.take(two)
    assert said == ()
    held, said, unsaid = held.take(three)

    assert (said, unsaid, held.bursts) == ((), (one, two, three), ())


def test_what_only_began_like_one_is_said_once_that_is_clear() -> None:
    one, two = bursts("ca", "r")
    held, said, _ = HeldBursts(("cat",)).take(one)
    assert (said, held.token_count) == ((), 1)
    held, said, _ = held.take(two)

    assert (said, held.token_count) == ((one, two), 0)


@given(
    banned=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    texts=st.lists(st.text("abc", max_size=3), max_size=12),
)
def test_what_is_said_never_holds_a_banned_string(banned: tuple[str, ...], texts: list[str]) -> None:
    held, said_text, left = HeldBursts(banned), "", list[Burst]()
    for burst in bursts(*texts):
        held, said, unsaid = held.take(burst)
        said_text += "".join(each.text for each in said)
        left = [each for each in (*left, burst) if each not in unsaid]

        rest = "".join(each.text for each in held.bursts)
        assert not any(string in said_text + rest for string in banned)
        assert said_text + rest == "".join(each.text for each in left)
