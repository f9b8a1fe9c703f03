"""Every `--json` has a schema in docs/json, and what commands print is as it says."""

import json

import pytest

from tests.json_schemas.making import FOLDER, commands, faults, files, jsonschema
from tests.json_schemas.outputs import OUTPUTS


def test_no_command_with_json_lacks_a_schema_and_no_schema_lacks_its_command() -> None:
    assert {name for name, _ in commands()} == set(OUTPUTS)


def test_the_files_are_as_they_are_made() -> None:
    """Write them again with `python -m tests.json_schemas.making`."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == files()


@pytest.mark.parametrize("name", sorted(name for name in files() if name.endswith(".json")))
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((FOLDER / name).read_text(encoding="utf-8")))


def test_a_field_that_no_schema_names_is_a_fault_and_so_is_one_that_is_missing() -> None:
    good = {"path": "m.gguf", "weights_hash": "ab"}

    assert not faults("model hash", json.dumps(good))
    assert faults("model hash", json.dumps(good | {"extra": 1}))
    assert faults("model hash", json.dumps({"path": "m.gguf"}))
