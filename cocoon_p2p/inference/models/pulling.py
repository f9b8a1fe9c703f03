"""A whole model from the net into the folder: planned, fetched file by file, examined, recorded.

    source --> plan (which files, how large, which hashes) --> room on the disk?
           --> each file: there already, or downloaded --> is it a model? --> record

Whatever ends it, what was fetched stays, and the next pull of the same goes on from there. A name that
the catalogue has is given to the catalogue's bytes only.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import trio

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.inference.gguf import read_gguf
from cocoon_p2p.inference.manifest import split_parts
from cocoon_p2p.inference.models.catalogue import Catalogue
from cocoon_p2p.inference.models.download import Progress, download
from cocoon_p2p.inference.models.entry import LINE_MAX, FileEntry, ModelEntry, files_mistake, is_file_name
from cocoon_p2p.inference.models.fetching import Fetcher
from cocoon_p2p.inference.models.finding import DEMO
from cocoon_p2p.inference.models.folder import ModelFolder, is_model_name
from cocoon_p2p.inference.models.hub import list_repository, model_paths
from cocoon_p2p.inference.models.part import NOTE_SUFFIX, SUFFIX, Wanted, require_space
from cocoon_p2p.inference.models.source import (
    HubSource,
    Source,
    UrlSource,
    default_name,
    parse_source,
    without_query,
)

CONFIG_MAX_BYTES: Final = 4 << 20
"Of a folder's config.json, which says what kind of a model it is."

_CHUNK_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched, and what is known of it beforehand."""

    name: str
    source: str
    revision: str
    files: tuple[Wanted, ...]
    licence: str = ""
    facts: ModelEntry | None = field(default=None)
    "What the catalogue says of it."


async def plan_pull(
    text: str, *, name: str, revision: str, sha256: str, catalogue: Catalogue, fetcher: Fetcher
) -> Plan:
    """Find out what a source stands for. Asks the hub, unless the catalogue knows.

    Args:
        text: A source, or a name in the catalogue.
        name: What to call the model; empty for what its source or the catalogue calls it.
        revision: The hub's; empty for the main one.
        sha256: What its one file must hash to; empty where that is not known.
        catalogue: What names mean.
        fetcher: To ask the hub by.

    Raises:
        ConfigurationError: There is no such thing, or it is no model.
        RemoteProtocolError: The hub's answer makes no sense.
        Unavailable: The hub cannot be reached.
    """
    entry = catalogue.find(text) if is_model_name(text) else None
    if entry is not None:
        if revision:
            raise ConfigurationError(
                f"the catalogue says the revision of this model (name={text} revision={entry.revision})",
                hint="for another one name the source: hf:OWNER/REPO/FILE",
            )
        plan = _plan_of_entry(entry, fetcher)
    else:
        source = parse_source(text, revision)
        plan = await _plan_of_hub(source, fetcher) if isinstance(source, HubSource) else _plan_of_url(source)
        plan = replace(plan, source=without_query(text) if isinstance(source, UrlSource) else text)
        if len(plan.source) > LINE_MAX:
            raise ConfigurationError(
                f"the source is too long to be kept with the model (size={len(plan.source)} max={LINE_MAX} "
                "characters)",
                hint="fetch it by other means, and name the file in the worker's configuration",
            )
    if sha256:
        if len(plan.files) != 1:
            raise ConfigurationError(
                f"one hash for {len(plan.files)} files", hint="leave --sha256 out; the hub says their hashes"
            )
        plan = replace(plan, files=(_with_hash(plan.files[0], sha256),))
    plan = replace(plan, name=name or plan.name)
    if not is_model_name(plan.name) or plan.name == DEMO:
        raise ConfigurationError(
            f"not a model's name: {plan.name!r}",
            hint="choose one with --name: a-z, 0-9, dot, dash, underscore",
        )
    plan = replace(plan, files=_as_catalogued(plan, catalogue))
    wrong = files_mistake(sorted(wanted.name for wanted in plan.files))
    if wrong or not all(is_file_name(wanted.name) for wanted in plan.files):
        raise ConfigurationError(wrong or "the source has files of odd names", hint="name a .gguf file")
    return plan


def _with_hash(wanted: Wanted, sha256: str) -> Wanted:
    if wanted.sha256 not in ("", sha256):
        raise ConfigurationError(
            f"the file has another hash (file={wanted.name} asked={sha256} there={wanted.sha256})",
            hint="name the --revision that has it, or leave --sha256 out",
        )
    return replace(wanted, sha256=sha256)


def _as_catalogued(plan: Plan, catalogue: Catalogue) -> tuple[Wanted, ...]:
    """Expect of a name that the catalogue has what it means, where the source does not say what it gives."""
    entry = catalogue.find(plan.name)
    if entry is None or len(plan.files) != 1 or len(entry.files) != 1 or plan.files[0].sha256:
        return plan.files
    (file,) = entry.files
    return (replace(plan.files[0], size_bytes=file.size_bytes, sha256=file.sha256),)


def _plan_of_entry(entry: ModelEntry, fetcher: Fetcher) -> Plan:
    if not entry.source:
        raise ConfigurationError(
            f"nothing is to be fetched for this model (name={entry.name})",
            hint="the demo model comes along; another one's entry must say a source",
        )
    source = parse_source(entry.source, entry.revision)
    files = [Wanted(file.name, "", file.size_bytes, file.sha256) for file in entry.files]
    return Plan(
        entry.name,
        entry.source,
        entry.revision,
        tuple(replace(wanted, url=_url(source, wanted.name, fetcher)) for wanted in files),
        entry.licence,
        entry,
    )


def _url(source: Source, name: str, fetcher: Fetcher) -> str:
    if isinstance(source, UrlSource):
        return source.beside(name)
    return source.url(fetcher.hub, f"{source.path.rpartition('/')[0]}/{name}".lstrip("/"))


def _plan_of_url(source: UrlSource) -> Plan:
    names = split_parts(source.file_name) or [source.file_name]
    files = [Wanted(name, source.beside(name) if len(names) > 1 else source.url) for name in names]
    return Plan(default_name(source), source.url, "", tuple(files))


async def _plan_of_hub(source: HubSource, fetcher: Fetcher) -> Plan:
    listing = await list_repository(source, fetcher)
    paths = model_paths(listing, source)
    # From here on all is of one commit, whatever is published meanwhile.
    pinned = replace(source, revision=listing.commit)
    there = {file.path: file for file in listing.files}
    files = [
        Wanted(
            path.rpartition("/")[2],
            pinned.url(fetcher.hub, path),
            there[path].size_bytes,
            there[path].sha256,
            there[path].git_blob,
        )
        for path in paths
    ]
    return Plan(default_name(source), "", listing.commit, tuple(files), listing.licence)


async def pull(
    plan: Plan,
    folder: ModelFolder,
    catalogue: Catalogue,
    fetcher: Fetcher,
    *,
    progress: Progress | None = None,
) -> ModelEntry:
    """Fetch what was planned. Cancelled or killed, it leaves what it had for the next time.

    Raises:
        ConfigurationError: It is no model, there is another one of its name, or the catalogue means another.
        RemoteProtocolError: A host sends other bytes than it said.
        Unavailable: A host or the disk is in the way.
    """
    files = folder.files(plan.name)
    with folder.change(plan.name):
        kept = folder.find(plan.name)
        if kept is not None:
            _refuse_another(plan, kept)
            return kept
        _check_name(plan, catalogue)
        try:
            files.mkdir(parents=True, exist_ok=True)
            _refuse_strangers(plan, files)
            require_space(files, sum(wanted.size_bytes or 0 for wanted in plan.files) - _size(files))
            fetched = [await _fetch(wanted, files, fetcher, progress) for wanted in plan.files]
            entry = await trio.to_thread.run_sync(_examine, plan, fetched, files)
            catalogue.check(plan.name, entry.weights_hash)
            folder.keep(entry)
        except OSError as exc:
            raise Unavailable(
                f"cannot use {exc.filename or files}: {exc.strerror}", hint="the disk must take what comes"
            ) from exc
        except BaseException:
            # Only where nothing came at all.
            with suppress(OSError):
                files.rmdir()
            raise
        return entry


def _refuse_another(plan: Plan, kept: ModelEntry) -> None:
    """Refuse to put a model in another's place. The same one is simply there already."""
    known = {wanted.name: wanted.sha256 for wanted in plan.files}
    have = {file.name: file.sha256 for file in kept.files}
    is_same = (plan.source, plan.revision) == (kept.source, kept.revision)
    if known.keys() == have.keys() and all(
        sha256 == have[name] or (not sha256 and is_same) for name, sha256 in known.items()
    ):
        return
    raise ConfigurationError(
        f"another model is here by this name (name={plan.name} source={kept.source})",
        hint=f"choose another with --name, or first: cocoon model rm {plan.name}",
    )


def _check_name(plan: Plan, catalogue: Catalogue) -> None:
    """Refuse early what the catalogue would refuse in the end."""
    if all(wanted.sha256 and wanted.size_bytes for wanted in plan.files):
        files = [
            FileEntry(name=wanted.name, size_bytes=wanted.size_bytes or 0, sha256=wanted.sha256)
            for wanted in plan.files
        ]
        catalogue.check(plan.name, _entry(plan, files).weights_hash)


async def _fetch(wanted: Wanted, files: Path, fetcher: Fetcher, progress: Progress | None) -> FileEntry:
    """Give a file that is whole already, if its hash is known; else download it."""
    whole = files / wanted.name
    if wanted.sha256 and whole.is_file() and not whole.is_symlink():
        size = whole.stat().st_size
        if await trio.to_thread.run_sync(hash_file, whole) == wanted.sha256:
            # A kill between a file's name and its note's end leaves the note.
            (files / (wanted.name + NOTE_SUFFIX)).unlink(missing_ok=True)
            if progress is not None:
                progress(wanted.name, size, size)
            return FileEntry(name=wanted.name, size_bytes=size, sha256=wanted.sha256)
    return await download(wanted, files, fetcher, progress=progress)


def hash_file(path: Path) -> str:
    """Give a file's SHA-256. For a thread of trio's; a cancel ends it soon."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            trio.from_thread.check_cancelled()
            digest.update(chunk)
    return digest.hexdigest()


def _refuse_strangers(plan: Plan, files: Path) -> None:
    """Refuse to mix a model with other files: they would count as its own, and may be somebody's."""
    known = {wanted.name + suffix for wanted in plan.files for suffix in ("", SUFFIX, NOTE_SUFFIX)}
    strangers = sorted(path.name for path in files.iterdir() if path.name not in known)
    if strangers:
        raise ConfigurationError(
            f"other files lie where the model is to be (path={files} file={strangers[0]!r})",
            hint=f"choose another name with --name, or first: cocoon model rm {plan.name}",
        )


def _size(files: Path) -> int:
    return sum(path.stat().st_size for path in files.iterdir() if path.is_file())


def _examine(plan: Plan, fetched: Sequence[FileEntry], files: Path) -> ModelEntry:
    """See that what came is a model, and what it says of itself. Blocks.

    Raises:
        ConfigurationError: It is none; the files stay for whoever wants to look.
    """
    entry = _entry(plan, fetched)
    if plan.facts is not None:
        return entry
    if entry.main_file:
        head = read_gguf(files / entry.main_file)
        family = head.text("general.basename").lower() or head.architecture
        licence, context = plan.licence or head.text("general.license"), head.context_tokens
    else:
        config = _config(files / "config.json")
        family, licence, context = config.model_type, plan.licence, config.max_position_embeddings
    return msgspec.structs.replace(
        entry, family=_line(family), licence=_line(licence), context_tokens=min(max(context, 0), 1 << 31)
    )


def _entry(plan: Plan, fetched: Sequence[FileEntry]) -> ModelEntry:
    facts = plan.facts
    return ModelEntry(
        name=plan.name,
        family=facts.family if facts else "",
        licence=plan.licence,
        context_tokens=facts.context_tokens if facts else 0,
        template=facts.template if facts else "own",
        source=plan.source,
        revision=plan.revision,
        files=tuple(sorted(fetched, key=lambda file: file.name)),
    )


class _Config(msgspec.Struct, frozen=True):
    model_type: str = ""
    max_position_embeddings: int = 0


def _config(path: Path) -> _Config:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(CONFIG_MAX_BYTES), type=_Config)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"a folder of weights needs a config.json that can be read (path={path})",
            hint="another repository or revision of the model may be whole",
        ) from exc


def _line(text: str) -> str:
    """What a model says of itself, as far as a record takes it."""
    return text[:LINE_MAX] if text.isprintable() else ""
