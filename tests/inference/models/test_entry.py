"""Entries: what names mean, written and read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.manifest import weights_hash
from cocoon_p2p.inference.models.catalogue import load_catalogue
from cocoon_p2p.inference.models.entry import SIZE_MAX_BYTES, FileEntry, ModelEntry, read_entry, spell_entry
from cocoon_p2p.strict_toml import ConfigurationMistakes

GOOD = f"""[model]
name = "mine"

[[file]]
name = "mine.gguf"
size_bytes = 5
sha256 = "{"a" * 64}"
"""

lines = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)
entries = st.builds(
    ModelEntry,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,95}", fullmatch=True),
    family=lines,
    licence=lines,
    context_tokens=st.integers(0, 1 << 31),
    template=st.sampled_from(["own", "none"]),
    source=st.sampled_from(["", "hf:owner/repo/a (1).gguf", "https://host.example/a.gguf"]),
    files=st.builds(
        FileEntry,
        name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._ +()-]{0,90}\.gguf", fullmatch=True).filter(
            lambda name: "-of-" not in name
        ),
        size_bytes=st.integers(1, 1 << 50),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    ).map(lambda file: (file,)),
)


def read(tmp_path: Path, text: str) -> ModelEntry:
    path = tmp_path / "entry.toml"
    path.write_text(text, encoding="utf-8")
    return read_entry(path)


@given(entry=entries)
def test_what_is_written_is_read_again(entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("entries", numbered=True)

    assert read(folder, spell_entry(entry)) == entry


def test_every_mistake_is_shown_at_once_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistakes) as caught:
        read(
            tmp_path,
            '[model]\nname = "Mine"\nlicense = "MIT"\nsource = "ftp://a/b"\n\n'
            '[[file]]\nname = "a.gguf"\nsize_bytes = 0\n\n'
            '[[file]]\nname = "../b"\nsize_bytes = 5\nsha256 = "x"\n[fle]\n',
        )

    places = [(mistake.line, mistake.column) for mistake in caught.value.mistakes]
    assert places == [(2, 1), (3, 1), (4, 1), (6, 1), (8, 1), (11, 1), (13, 1), (14, 1)]
    text = str(caught.value)
    assert "unknown key `license` in [model], did you mean `licence`?" in text
    assert "`sha256` is missing in [file 1]" in text
    assert "unknown section [fle], did you mean `file`?" in text
    assert "not a source of models" in text


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (["a.gguf", "b.gguf"], "one .gguf file, or all parts"),
        (["a-00001-of-00002.gguf"], "one .gguf file, or all parts"),
        (["a.gguf", "config.json"], "and nothing else"),
        (["config.json"], "a folder with .safetensors files"),
        (["model.safetensors", "weights.bin"], "not a model's file: weights.bin"),
        (["a.gguf", "A.gguf"], "has that name too"),
    ],
)
def test_files_that_are_no_model_are_refused(files: list[str], why: str, tmp_path: Path) -> None:
    tables = "".join(f'[[file]]\nname = "{name}"\nsize_bytes = 5\nsha256 = "{"a" * 64}"\n' for name in files)

    with pytest.raises(ConfigurationMistakes, match=why):
        read(tmp_path, f'[model]\nname = "mine"\n{tables}')


@pytest.mark.parametrize(
    "text",
    ["", "model = 3", "[model]\nname='a'\nfile = 3", "[model]\nname='a'\nfile = []", "x = " + "[" * 5000],
)
def test_what_is_no_entry_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistakes):
        read(tmp_path, text)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too large"):
        read(tmp_path, "#" * (SIZE_MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"My model.gguf": b"weights"}, "My model.gguf"),
        ({f"m-{part:05}-of-00011.gguf": bytes([part]) for part in range(1, 12)}, "m-00001-of-00011.gguf"),
        ({"config.json": b"{}", "b.safetensors": b"b", "a.safetensors": b"a"}, ""),
    ],
)
async def test_an_entry_has_the_weights_hash_of_its_files(
    files: Mapping[str, bytes], main: str, tmp_path: Path
) -> None:
    """Whatever the order of its tables."""
    tables = ""
    for name, data in reversed(files.items()):
        digest = hashlib.sha256(data).hexdigest()
        tables += f'[[file]]\nname = "{name}"\nsize_bytes = {len(data)}\nsha256 = "{digest}"\n'
    entry = read(tmp_path, f'[model]\nname = "mine"\n{tables}')
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)

    assert entry.main_file == main
    assert entry.weights_hash == await weights_hash(folder / main)


def test_the_entries_that_come_along_are_of_one_commit_each_and_have_a_licence() -> None:
    catalogue = load_catalogue(None)

    demo = catalogue.find(DEMO_NAME)
    assert demo is not None
    assert demo.weights_hash == DEMO_WEIGHTS_HASH
    assert demo.size_bytes == demo_model().stat().st_size
    for entry in catalogue:
        assert entry.licence
        assert entry is demo or len(entry.revision) == 40


def test_the_users_entries_stand_beside_those_that_come_along(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)

    catalogue = load_catalogue(tmp_path)

    mine = catalogue.find("mine")
    assert mine is not None
    assert mine.files[0].sha256 == "a" * 64
    assert catalogue.find(DEMO_NAME) is not None


def test_all_that_is_wrong_with_a_catalogue_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace("mine", DEMO_NAME))
    (tmp_path / "b.toml").write_text(GOOD.replace("size_bytes = 5", "size_byte = 5"))
    (tmp_path / "c.toml").write_bytes(b"\xff")

    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(tmp_path)

    text = str(caught.value)
    assert f"another entry means other bytes by the name {DEMO_NAME}" in text
    assert "did you mean `size_bytes`?" in text
    assert "c.toml is not UTF-8" in text


def test_a_name_stands_for_its_bytes_only(tmp_path: Path) -> None:
    catalogue = load_catalogue(None)

    catalogue.check(DEMO_NAME, DEMO_WEIGHTS_HASH)
    catalogue.check("a-name-of-ones-own", bytes(32))
    with pytest.raises(ConfigurationError, match="means another model by this name"):
        catalogue.check(DEMO_NAME, bytes(32))


@pytest.mark.parametrize("key", ["name", "family", "licence", "revision"])
def test_a_line_end_does_not_slip_in_behind_a_value(key: str, tmp_path: Path) -> None:
    text = GOOD.replace('name = "mine"\n', "").replace("[model]", f'[model]\n{key} = "mine\\n"')

    with pytest.raises(ConfigurationMistakes, match=f"`{key}`"):
        read(tmp_path, text)
    with pytest.raises(ConfigurationMistakes, match="`name`"):
        read(tmp_path, GOOD.replace("mine.gguf", "mine.gguf\\n").replace("a" * 64, "a" * 64 + "\\n"))
