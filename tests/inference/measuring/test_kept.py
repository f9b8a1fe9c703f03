"""A measurement outlives its process, and is worth nothing once it cannot be read or makes no sense."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.measuring.kept import (
    FILE,
    Circumstances,
    Measurement,
    read_measurements,
    write_measurements,
)
from cocoon_p2p.inference.measuring.levels import Level
from cocoon_p2p.inference.measuring.machine import describe_machine

HERE = Circumstances("demo", "00" * 32, "paced 1", 4096, 4, 0, "a processor x 2")
MEASURED = Measurement(HERE, 1_700_000_000, (Level(1, 100.0, 10.0, 0.5), Level(2, 110.0, None, 0.9)), 2)

LEVEL = {"concurrency": 1, "prefill": 1, "decode": 1, "first_token_seconds": 1}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_measurements(tmp_path / "data", {"a": MEASURED})
    write_measurements(tmp_path / "data", {"b": replace(MEASURED, slots=None)})

    assert read_measurements(tmp_path / "data") == {"a": MEASURED, "b": replace(MEASURED, slots=None)}


def test_no_file_is_no_measurement(tmp_path: Path) -> None:
    assert read_measurements(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1}', '{"a": {}}', "[" * 100_000, '{"a": {"b": ' + "[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_no_measurement(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)

    assert read_measurements(tmp_path) == {}
    write_measurements(tmp_path, {"a": MEASURED})
    assert read_measurements(tmp_path) == {"a": MEASURED}


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [{"concurrency": 2, "prefill": 1, "decode": 1, "first_token_seconds": 1}],
        [{"concurrency": 1, "prefill": 0, "decode": 1, "first_token_seconds": 1}],
        [{"concurrency": 1, "prefill": 1, "decode": -1, "first_token_seconds": 1}],
        [{"concurrency": 1, "prefill": 1e999, "decode": 1, "first_token_seconds": 1}],
        [{"concurrency": 1, "prefill": 1, "decode": 5e-324, "first_token_seconds": 1}],
        [{"concurrency": 1, "prefill": 1e308, "decode": 1, "first_token_seconds": 1}],
        [LEVEL, {**LEVEL, "concurrency": 0}],
        [LEVEL, {**LEVEL, "concurrency": -4}],
        [LEVEL, LEVEL],
        [LEVEL, {**LEVEL, "concurrency": 4}, {**LEVEL, "concurrency": 2}],
        [LEVEL, {**LEVEL, "concurrency": 257}],
    ],
)
def test_levels_that_make_no_sense_are_no_measurement(tmp_path: Path, levels: object) -> None:
    write_measurements(tmp_path, {"a": MEASURED, "b": MEASURED})
    found = json.loads((tmp_path / FILE).read_text())
    found["a"]["levels"] = levels
    (tmp_path / FILE).write_text(json.dumps(found).replace("Infinity", "1e999"))

    assert "a" not in read_measurements(tmp_path)


@pytest.mark.parametrize("slots", [0, -1, 257])
def test_slots_that_make_no_sense_are_no_measurement(tmp_path: Path, slots: int) -> None:
    write_measurements(tmp_path, {"a": replace(MEASURED, slots=slots)})

    assert read_measurements(tmp_path) == {}


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigurationError, match="cannot"):
        write_measurements(tmp_path / "data", {"a": MEASURED})


def test_a_machine_is_named_by_processor_and_cards(tmp_path: Path) -> None:
    cpu, cards = tmp_path / "cpuinfo", tmp_path / "gpus"
    cpu.write_text("processor\t: 0\nmodel name\t: A  Processor 9000\nprocessor\t: 1\nmodel name\t: Another\n")
    for number in (1, 0):
        (cards / str(number)).mkdir(parents=True)
        (cards / str(number) / "information").write_text(f"Model: \t\t Card {number}\nIRQ: 1\n")

    found = describe_machine(cpu, cards)

    assert found.startswith("A Processor 9000 x ")
    assert found.endswith(", Card 0, Card 1")


def test_a_machine_that_does_not_say_has_a_name_all_the_same(tmp_path: Path) -> None:
    assert " x " in describe_machine(tmp_path / "none", tmp_path / "none")
