"""`replace` does what `dataclasses.replace` does."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.frozen import replace


@dataclass(frozen=True, slots=True)
class State:
    one: int
    two: str = "two"
    # Names that the written copier uses itself.
    cls: int = 0
    new: int = 0
    old: tuple[int, ...] = ()
    create: int = 0
    digest: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class More(State):
    three: float = 3.0


@dataclass(frozen=True)
class Loose:
    one: int = 1


@dataclass(frozen=True, slots=True)
class Checked:
    one: int

    def __post_init__(self) -> None:
        if self.one < 0:
            raise ValueError("less than nothing")


@dataclass(frozen=True, slots=True)
class Derived:
    one: int
    two: int = field(init=False, default=2)


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "one": st.integers(),
        "two": st.text(),
        "cls": st.integers(),
        "new": st.integers(),
        "old": st.tuples(st.integers()),
        "create": st.none() | st.integers(),
    },
)


@given(st.sampled_from([State(1), More(1, three=0.5)]), _CHANGES)
def test_a_copy_is_the_one_that_dataclasses_makes(state: State, changes: dict[str, Any]) -> None:
    copy = replace(state, **changes)

    assert copy == dataclasses.replace(state, **changes)
    assert type(copy) is type(state)


def test_what_does_not_change_is_the_very_same_object_and_the_old_one_stays_as_it_was() -> None:
    digest = object()
    state = State(1, digest=digest)

    copy = replace(state, one=2)

    assert copy.digest is digest
    assert state == State(1)


@pytest.mark.parametrize("value", [State(1), Loose(), Checked(1), Derived(1), Nothing()])
def test_a_field_that_is_not_there_cannot_be_changed(value: Any) -> None:
    with pytest.raises(TypeError):
        replace(value, four=4)


def test_a_copy_is_frozen_too() -> None:
    copy = cast(Any, replace(State(1), one=2))

    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.one = 3


def test_what_is_checked_when_it_is_made_is_checked_when_it_is_copied() -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        replace(Checked(1), one=-1)


def test_what_is_no_class_of_slots_is_copied_all_the_same() -> None:
    assert replace(Loose(), one=2) == Loose(2)
    assert replace(Derived(1), one=2) == Derived(2)
    assert replace(Nothing()) == Nothing()
