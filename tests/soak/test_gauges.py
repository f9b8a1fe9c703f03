from collections import Counter

from tests.soak.gauges import KINDS, Look, While, more_objects, what_grew


def seen(*megabytes: float, tasks: int = 10, files: int = 10, **kinds: int) -> While:
    counted = Counter({KINDS.get(kind, kind): number for kind, number in kinds.items()})
    looks = [Look(round(each * 1e6), files, tasks) for each in megabytes or (100,)]
    return While(looks, Look(0, 0, 0, counted))


def test_four_per_cent_more_memory_is_let_pass_and_six_are_not() -> None:
    assert what_grew(seen(100), seen(104)) == []
    assert what_grew(seen(100), seen(106)) == ["memory: 100.0 MB, then 106.0 MB (+6.0%)"]


def test_one_look_at_a_burst_is_not_growth() -> None:
    assert what_grew(seen(100, 100, 100), seen(100, 300, 100)) == []


def test_each_count_that_grew_is_named() -> None:
    grown = seen(tasks=27, files=40, streams=17, connections=3)

    assert what_grew(seen(), grown) == ["files: 10, then 40", "tasks: 10, then 27", "streams: 0, then 17"]


def test_the_types_that_most_more_objects_have_come_first() -> None:
    assert more_objects(seen(a=5, b=5, c=5), seen(a=6, b=50, c=1)) == ["+45 b", "+1 a"]
