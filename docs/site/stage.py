"""Lays out what the docs site is made of: `stage.py FOLDER`, before mkdocs builds it (`make docs`).

Every page keeps its place in the repository, so that the links which hold there hold on the site. What pages
link to besides (examples, tests, vectors, folders) comes along: as a page of its own where it is text, which
a browser would not show.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from reference import reference

ROOT = Path(__file__).parents[2]
TOPS = ("docs", "protocols", "payments", "inference", "bootstrap", "examples", "benchmarks", "deploy")

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)(?=[)#])")
"What a link leads to, without its anchor, unless it leads to another site."

_LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".sh": "bash",
    ".service": "ini",
    ".conf": "ini",
} | dict.fromkeys((".cddl", ".tolk", ".tlb", ".txt", ".env", ""), "text")
"What is shown as a page, by its name's end. All else, as JSON, is handed over as it is."

_SHOWN_MAX_BYTES = 64 * 1024
"Colouring what is longer takes its time."


def stage(folder: Path) -> None:
    """Fill a folder anew with all that the site shows."""
    shutil.rmtree(folder, ignore_errors=True)
    for page in pages():
        _stage(page, folder)
    for file in (ROOT / "docs" / "json").glob("*.json"):
        _copy(file, folder)
    for name, text in reference(ROOT):
        _write(folder / "reference" / f"{name}.md", text)


def pages() -> Iterator[Path]:
    """List the repository's pages."""
    yield from ROOT.glob("*.md")
    for top in TOPS:
        yield from (page for page in ROOT.glob(f"{top}/**/*.md") if "node_modules" not in page.parts)


def _stage(page: Path, folder: Path) -> None:
    text = page.read_text()
    for link in set(_LINK.findall(text)):
        _take_along((page.parent / link).resolve(), folder)
    shown = _LINK.sub(lambda found: _shown(page.parent / found[1], found[1]), text)
    _write(folder / page.relative_to(ROOT), shown)


def _shown(target: Path, link: str) -> str:
    """Say what a link is on the site."""
    if target.is_dir():
        return f"{link.rstrip('/')}/{'README' if (target / 'README.md').exists() else 'index'}.md"
    return f"{link}.md" if _is_shown(target) else link


def _is_shown(file: Path) -> bool:
    return file.is_file() and file.suffix in _LANGUAGES and file.stat().st_size <= _SHOWN_MAX_BYTES


def _take_along(file: Path, folder: Path) -> None:
    if not file.is_relative_to(ROOT) or file.suffix == ".md" or (file / "README.md").exists():
        # A page comes by itself.
        return
    name = file.relative_to(ROOT)
    if file.is_dir():
        inner = [each for each in sorted(file.iterdir()) if each.is_file()]
        for each in inner:
            _take_along(each, folder)
        links = "\n".join(f"* [{each.name}]({_shown(each, each.name)})" for each in inner)
        _write(folder / name / "index.md", f"# {name}\n\n{links}\n")
    elif _is_shown(file):
        text = f"# {name}\n\n```` {_LANGUAGES[file.suffix]}\n{file.read_text()}\n````\n"
        _write(folder / f"{name}.md", text)
    elif file.exists():
        # What is missing mkdocs complains of.
        _copy(file, folder)


def _copy(file: Path, folder: Path) -> None:
    target = folder / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
