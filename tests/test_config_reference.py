"""What is said of a node's file is what is read from it."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.config import BootstrapFile, ClientFile, ProxyFile, WorkerFile, load
from cocoon_p2p.config.reference import File, Setting, in_effect, json_schema, meanings, write_toml
from cocoon_p2p.config.roles import ProxySection

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXT, st.lists(TEXT), st.dictionaries(TEXT, TEXT)
)


@given(VALUES)
def test_every_value_that_a_section_may_hold_is_written_so_that_toml_reads_it(value: object) -> None:
    text = write_toml((Setting("one", "key", value, "", ""),))

    assert tomllib.loads(text) == {"one": {"key": value}}


@pytest.mark.parametrize("kind", [WorkerFile, ProxyFile, BootstrapFile, ClientFile])
def test_the_schema_has_every_key_and_allows_no_other(kind: type[File]) -> None:
    defined: dict[str, Any] = json_schema(kind)["$defs"]

    for section in msgspec.structs.fields(kind):
        named = next(each for each in defined if each.lower() == f"{section.name}section")
        keys = {field.name for field in msgspec.structs.fields(_struct(section.type))}
        assert set(defined[named]["properties"]) == keys
        assert defined[named]["additionalProperties"] is False


def test_a_text_of_several_lines_is_one_line_and_belongs_to_the_key_above_it() -> None:
    told = meanings(ProxySection)

    assert told["asks_per_second"].startswith("How often one client may ask")
    assert all("\n" not in text for text in told.values())


def _struct(annotation: Any) -> type[msgspec.Struct]:
    named = (annotation, *getattr(annotation, "__args__", ()))
    return next(each for each in named if isinstance(each, type) and issubclass(each, msgspec.Struct))


@pytest.mark.parametrize("query", ["", "?api_key=SECRET", "?a=b&access_token=SECRET", "?key=SECRET&c=d"])
def test_no_password_is_shown_with_what_holds(tmp_path: Path, query: str) -> None:
    path = tmp_path / "worker.toml"
    path.write_text(
        f'[worker]\nmodel = "https://me:SECRET@engine.example/v1{query}"\n[network]\nname = "ours"\n'
        '[data]\nledger = "postgresql://me@host/db?password=SECRET&sslmode=require"\n'
    )

    shown = write_toml(in_effect(load(WorkerFile, path, {})))

    assert "SECRET" not in shown
    assert "https://me:...@engine.example" in shown
