"""Judges a file's tables by the sections that it may have: every mistake, and where it is."""

from collections.abc import Mapping
from typing import Any, cast, get_args, get_origin

import msgspec

from cocoon_p2p.config.sections import Section
from cocoon_p2p.strict_toml import UNKNOWN_MAX, Where, cut, meant, table_mistakes


def section_mistakes(kind: type, tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say what is wrong with a file's sections, each by itself."""
    sections = {field.name: field for field in msgspec.structs.fields(kind)}
    unknown = [name for name in tables if name not in sections]
    found: list[tuple[Where, str]] = [
        ((name, ""), f"unknown section [{cut(name)}]{meant(name, sections)}")
        for name in unknown[:UNKNOWN_MAX]
    ]
    if len(unknown) > UNKNOWN_MAX:
        found.append((("", ""), f"{len(unknown) - UNKNOWN_MAX} more unknown sections"))
    for name, section in sections.items():
        table = tables.get(name)
        if table is None:
            if section.required:
                found.append(((name, ""), f"section [{name}] is missing"))
        elif is_array(section):
            found += _array_mistakes(name, kind_of(section), table)
        elif not isinstance(table, dict):
            found.append(((name, ""), f"[{name}] is a section, not a value"))
        else:
            found += table_mistakes(name, kind_of(section), cast("dict[str, Any]", table))
    return found


def _array_mistakes(name: str, kind: type[Section], tables: object) -> list[tuple[Where, str]]:
    if not isinstance(tables, list):
        return [((name, ""), f"[{name}] is one of several: write [[{name}]]")]
    found: list[tuple[Where, str]] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        if isinstance(table, dict):
            found += table_mistakes(f"{name} {number}", kind, cast("dict[str, Any]", table))
        else:
            found.append(((name, ""), f"[[{name}]] is a section, not a value"))
    return found


def is_array(section: msgspec.structs.FieldInfo) -> bool:
    """Whether there may be several of a section."""
    return get_origin(section.type) is list


def kind_of(section: msgspec.structs.FieldInfo) -> type[Section]:
    """Give a section's class, also of one that may be left out."""
    kinds = (section.type, *get_args(section.type))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
