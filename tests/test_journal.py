"""What the journal keeps, and what it forgets."""

from cocoon_p2p.journal import KINDS_MAX, OTHER, RECENT_MAX, Entry, Journal


def entry(model: str = "m", outcome: str = "finished", first: float | None = 0.2) -> Entry:
    return Entry(
        exchange=bytes(16), role="worker", model=model, outcome=outcome, began_at=0.0, seconds=1.0,
        first_token_seconds=first, prompt_tokens=3, completion_tokens=5, income=7,
    )  # fmt: skip


def test_sums_are_by_model_and_outcome() -> None:
    journal = Journal()
    for each in (entry(), entry(), entry(outcome="cancelled"), entry("n")):
        journal.note(each)
    both = journal.sums["m", "finished"]
    assert (both.exchanges, both.prompt_tokens, both.completion_tokens, both.income) == (2, 6, 10, 14)
    assert set(journal.sums) == {("m", "finished"), ("m", "cancelled"), ("n", "finished")}


def test_a_first_token_counts_within_each_bound_that_it_kept() -> None:
    journal = Journal()
    for first in (0.05, 0.3, 60.0, None):
        journal.note(entry(first=first))
    sums = journal.sums["m", "finished"]
    assert sums.first_tokens == [1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert sums.exchanges == 4


def test_names_that_peers_make_up_do_not_fill_memory() -> None:
    journal = Journal()
    for number in range(3 * RECENT_MAX):
        journal.note(entry(f"model-{number}"))
    assert len(journal.recent) == RECENT_MAX
    assert len(journal.sums) == KINDS_MAX + 1
    assert journal.sums[OTHER, "finished"].exchanges == 3 * RECENT_MAX - KINDS_MAX


def test_the_latest_come_first() -> None:
    journal = Journal()
    for number in range(5):
        journal.note(entry(str(number)))
    assert [each.model for each in journal.latest(2)] == ["4", "3"]


def test_a_listener_that_fails_keeps_nobody_from_the_entry() -> None:
    journal, heard = Journal(), list[str]()

    def fail(_entry: Entry) -> None:
        raise ValueError

    journal.listen(fail)
    leave = journal.listen(lambda each: heard.append(each.model))
    journal.note(entry("heard"))
    leave()
    journal.note(entry("missed"))
    assert heard == ["heard"]
    assert len(journal.recent) == 2
