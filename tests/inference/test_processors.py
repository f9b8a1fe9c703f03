"""How many threads an engine gets: a test a rule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.processors import (
    Processor,
    default_threads,
    parse_list,
    quota,
    threads_for,
    usable_processors,
)


def cores(count: int, *, threads: int = 1, node: int = 0, capacity: int = 1024) -> list[Processor]:
    return [Processor((node, core), node, capacity) for core in range(count) for _ in range(threads)]


def test_one_processor_is_left_to_everything_else() -> None:
    assert threads_for(cores(8), None) == 7


def test_two_processors_of_one_core_get_one_thread() -> None:
    assert threads_for(cores(8, threads=2), None) == 8


def test_a_quota_counts_like_so_many_processors() -> None:
    assert threads_for(cores(64), 4) == 3


def test_slow_cores_get_no_thread() -> None:
    fast, slow = cores(6, threads=2), cores(8, node=0, capacity=512)
    others = [Processor((1, number), 0, each.capacity) for number, each in enumerate(slow)]

    assert threads_for([*fast, *others], None) == 6


def test_cores_of_another_node_of_memory_get_no_thread() -> None:
    assert threads_for([*cores(16), *cores(12, node=1)], None) == 16


@pytest.mark.parametrize("processors", [[], cores(1), cores(2), cores(1, threads=2)])
def test_there_is_always_a_thread(processors: list[Processor]) -> None:
    assert threads_for(processors, None) == 1
    assert threads_for(processors, 1) == 1


@given(
    st.lists(
        st.builds(
            Processor,
            st.tuples(st.integers(0, 1), st.integers(0, 9)),
            st.integers(0, 3),
            st.integers(1, 1024),
        ),
        max_size=40,
    ),
    st.none() | st.integers(1, 64),
)
def test_there_are_never_more_threads_than_processors_but_one(
    processors: list[Processor], limit: int | None
) -> None:
    threads = threads_for(processors, limit)

    assert 1 <= threads <= max(1, len(processors) - 1)
    assert limit is None or threads <= max(1, limit - 1)


def allow(monkeypatch: pytest.MonkeyPatch, processors: set[int]) -> None:
    def allowed(_process: int) -> set[int]:
        return processors

    monkeypatch.setattr("os.sched_getaffinity", allowed, raising=False)


@pytest.mark.parametrize(
    ("limit", "processors"),
    [("200000 100000\n", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)],
)
def test_a_container_s_time_limit_counts_as_that_many_processors(
    tmp_path: Path, limit: str, processors: int | None
) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(limit)

    assert quota(tmp_path) == processors


def test_the_narrowest_limit_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/system.slice/cocoon.service"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/cocoon.service\n")
    (group / "cpu.max").write_text("max 100000")
    (group.parent / "cpu.max").write_text("300000 100000")

    assert quota(tmp_path) == 3


def test_a_limit_of_the_older_kind_of_groups_counts(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/cpu/docker/1"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n")
    (group / "cpu.cfs_quota_us").write_text("250000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group.parent / "cpu.cfs_quota_us").write_text("-1\n")

    assert quota(tmp_path) == 2


def test_what_the_system_says_of_its_processors_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, {0, 1, 2, 9})
    system = tmp_path / "sys/devices/system"
    for number, core in {0: 0, 1: 0, 2: 1, 9: 7}.items():
        folder = system / f"cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "core_id").write_text(f"{core}\n")
        (folder / "physical_package_id").write_text("1\n")
    for node, processors in (("node0", "0-1,4"), ("node1", "2-3,9")):
        (system / "node" / node).mkdir(parents=True)
        (system / "node" / node / "cpulist").write_text(processors)
    (tmp_path / "sys/devices/cpu_core").mkdir()
    (tmp_path / "sys/devices/cpu_core/cpus").write_text("0-3\n")

    assert usable_processors(tmp_path) == [
        Processor((1, 0), 0, 1024),
        Processor((1, 0), 0, 1024),
        Processor((1, 1), 1, 1024),
        Processor((1, 7), 1, 512),
    ]


def test_the_system_s_own_word_on_a_core_s_capacity_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, {0})
    folder = tmp_path / "sys/devices/system/cpu/cpu0"
    folder.mkdir(parents=True)
    (folder / "cpu_capacity").write_text("430\n")

    assert usable_processors(tmp_path) == [Processor((0, 0), 0, 430)]


def test_a_system_that_says_nothing_of_itself_has_threads_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, {3, 4, 5, 6})

    assert default_threads(tmp_path) == 3


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8\n", [0, 1, 2, 3, 8]), ("", []), ("5", [5]), ("x-y", []), ("1-", [1])],
)
def test_a_list_is_read_as_the_kernel_writes_it(text: str, numbers: list[int]) -> None:
    assert parse_list(text) == numbers
