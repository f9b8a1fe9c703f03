"""The reference names every command, every key and every public name, and all that it names is there."""

import importlib
import re
import runpy
from pathlib import Path
from types import ModuleType

import click
import msgspec
import pytest

import cocoon_p2p
from cocoon_p2p.cli import cocoon
from cocoon_p2p.config.reference import FILES, json_schema

ROOT = Path(__file__).parents[2]
PAGES: dict[str, str] = dict(runpy.run_path(str(ROOT / "docs" / "site" / "reference.py"))["reference"](ROOT))
LIBRARY = [name for name in PAGES if name.startswith("library-")]


@pytest.mark.slow
def test_every_command_is_there_with_its_options() -> None:
    found = set(re.findall(r"^## (.+)$", PAGES["commands"], re.MULTILINE))

    for name in cocoon.list_commands(click.Context(cocoon)):
        assert f"cocoon {name}" in found
    assert "cocoon channels open" in found
    assert "--kill-worker-after" in PAGES["commands"]


@pytest.mark.parametrize("role", FILES)
def test_every_key_of_every_file_is_there(role: str) -> None:
    section = PAGES["configuration"].partition(f"## {role}.toml")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))

    sections = json_schema(FILES[role])["$defs"]
    written = {key for each in sections.values() for key in each.get("properties", {})}
    assert written - told <= {field.name for field in msgspec.structs.fields(FILES[role])}


@pytest.mark.long
@pytest.mark.parametrize("name", LIBRARY)
def test_what_a_page_names_can_be_imported(name: str) -> None:
    for path in re.findall(r"^::: ([\w.]+)$", PAGES[name], re.MULTILINE):
        module, _, last = path.rpartition(".")
        try:
            found: object = importlib.import_module(path)
        except ModuleNotFoundError:
            found = getattr(importlib.import_module(module), last)
        assert isinstance(found, (type, ModuleType)) or callable(found), path


def test_every_public_name_is_on_a_page() -> None:
    errors = set(dir(importlib.import_module("cocoon_p2p.errors")))

    paths = re.findall(r"^::: (.+)$", PAGES["library-client"], re.MULTILINE)
    named = {path.rpartition(".")[2] for path in paths}

    assert set(dir(cocoon_p2p)) - named <= errors
