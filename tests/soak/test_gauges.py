from collections import Counter

from tests.soak.gauges import Reading, more_objects, what_grew


def reading(megabytes: float = 100, *, tasks: int = 10, files: int = 10, **kinds: int) -> Reading:
    return Reading(round(megabytes * 1e6), files, tasks, 4, 20, Counter(kinds))


def test_four_per_cent_more_memory_is_let_pass_and_six_are_not() -> None:
    assert what_grew([reading(100)], [reading(104)]) == []
    assert what_grew([reading(100)], [reading(106)]) == ["memory: 100.0 MB, then 106.0 MB (+6.0%)"]


def test_one_look_at_a_burst_is_not_growth() -> None:
    assert what_grew([reading()] * 3, [reading(), reading(300, tasks=900), reading()]) == []


def test_each_count_that_grew_is_named() -> None:
    assert what_grew([reading()], [reading(tasks=27, files=40)]) == [
        "files: 10, then 40",
        "tasks: 10, then 27",
    ]


def test_the_types_that_most_more_objects_have_come_first() -> None:
    assert more_objects([reading(a=5, b=5, c=5)], [reading(a=6, b=50, c=1)]) == ["+45 b", "+1 a"]
