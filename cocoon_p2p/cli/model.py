"""`cocoon model`: models and their files on this machine."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import trio

from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.cli.tables import print_json, print_table
from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError

if TYPE_CHECKING:
    from cocoon_p2p.inference.models.catalogue import Catalogue
    from cocoon_p2p.inference.models.entry import ModelEntry
    from cocoon_p2p.inference.models.folder import ModelFolder

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def model() -> None:
    """Fetch models, and look after their files.

    They lie in COCOON_MODELS, else in ~/.local/share/cocoon/models. A worker takes them by name:
    model = "NAME".
    """


@model.command("hash")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A folder with a LoRA adapter that it is served with; may be said again.",
)
@_json
def hash_model(path: Path, adapters: tuple[Path, ...], as_json: bool) -> None:
    """Print the weights hash of the model at PATH: a GGUF file, or a folder.

    It is what `cocoon ask --weights` and a worker's record name (inference/engines.md). Everything is
    read; some gigabytes take some seconds.
    """
    from cocoon_p2p.inference.manifest import weights_hash

    async def run() -> bytes:
        return await weights_hash(path, adapters=adapters, progress=_show_progress)

    found = trio.run(run).hex()
    click.echo(json.dumps({"path": str(path), "weights_hash": found}) if as_json else found)


def _show_progress(done_bytes: int, total_bytes: int) -> None:
    gigabytes = f"{done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB"
    print(f"hashing: {gigabytes}", file=sys.stderr, flush=True)


@model.command("evaluate")
@click.argument("name", metavar="[MODEL]", default="demo")
@click.option("--task", "tasks", multiple=True, help="Ask this task alone; may be said again.")
@click.option("--count", type=click.IntRange(min=1), help="Ask only so many questions of each task.")
@click.option("--wrong", "shows_wrong", is_flag=True, help="Show each wrong answer, and the right one.")
@_json
def evaluate_model(
    name: str, tasks: tuple[str, ...], count: int | None, shows_wrong: bool, as_json: bool
) -> None:
    """Score MODEL, by default the demo model, on the questions that come along. It is asked on this machine.

    MODEL is what a worker's file names: demo, a name that was pulled, or the path of a GGUF file. The
    questions are the demo model's, from its recipe's templates; an answer is right to the letter or wrong.
    """
    from cocoon_p2p.cli.model_evaluate import evaluate_model

    evaluate_model(name, tasks=tasks, count=count, shows_wrong=shows_wrong, as_json=as_json)


@model.command("pull")
@click.argument("source")
@click.option("--revision", default="", help="A branch, tag or commit of the hub's; by default main.")
@click.option("--sha256", default="", help="What the file must hash to, where neither hub nor catalogue say.")
@click.option("--name", default="", help="What to call it; by default as its file or repository is called.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="Holds a token of the hub's; else HF_TOKEN does."
)
@_json
def pull_model(
    source: str, revision: str, sha256: str, name: str, token_file: Path | None, as_json: bool
) -> None:
    """Fetch the model SOURCE: hf:OWNER/REPO/FILE, hf:OWNER/REPO, a URL, or a name in the catalogue.

    What breaks off goes on where it was: run the same command again. The hash is checked while it comes.
    """
    from cocoon_p2p.cli.model_pull import pull

    if sha256 and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise click.BadParameter("a SHA-256 is 64 hexadecimal digits", param_hint="--sha256")
    folder, catalogue = _folder(), _catalogue()
    entry, was_hash_known = pull(
        source, folder, catalogue, revision=revision, sha256=sha256.lower(), name=name, token_file=token_file
    )
    if as_json:
        print_json(_facts(entry, folder, "pulled"))
        return
    click.echo(f"{entry.name}  {_size(entry.size_bytes)}  {folder.main_path(entry)}")
    click.echo(f'a worker serves it with: model = "{entry.name}"', err=True)
    if not was_hash_known:
        click.echo(
            f"nobody said beforehand what it should hash to; it does to {entry.files[0].sha256}", err=True
        )


@model.command("list")
@_json
def list_models(as_json: bool) -> None:
    """Show the models that are here, and those that the catalogue has."""
    folder, catalogue = _folder(), _catalogue()
    rows = list[dict[str, object]]()
    for kept in folder:
        if kept.entry is None:
            rows.append({"name": kept.name, "state": "broken", "trouble": kept.trouble})
        else:
            rows.append(_facts(kept.entry, folder, "pulled"))
    here = {row["name"] for row in rows}
    for entry in catalogue:
        if entry.name not in here:
            rows.append(_facts(entry, folder, "catalogue" if entry.source else "built in"))
    if as_json:
        print_json(rows)
        return
    columns = ("name", "family", "size", "hash", "licence", "state", "used by")
    print_table(columns, [_row(row) for row in rows], amounts=("size",))
    for row in rows:
        if row["state"] == "broken":
            click.echo(harmless(f"{row['name']}: {row['trouble']}"), err=True)


@model.command("verify")
@click.argument("name", required=False)
@_json
def verify_models(name: str | None, as_json: bool) -> None:
    """Read the files of model NAME again, or of all, and compare their hashes with what was pulled."""
    from cocoon_p2p.inference.models.verifying import verify

    folder, catalogue = _folder(), _catalogue()
    kept = [one for one in folder if name in (None, one.name)]
    if name is not None and not kept:
        raise ConfigurationError(f"no such model here (name={name})", hint="cocoon model list shows them")
    found = dict[str, Sequence[str]]()
    for one in kept:
        if one.entry is None:
            found[one.name] = [one.trouble]
            continue
        if sys.stderr.isatty():
            click.echo(f"reading {one.name}, {_size(one.entry.size_bytes)} ...", err=True)
        found[one.name] = trio.run(verify, one.entry, folder, catalogue)
    if as_json:
        print_json([{"name": which, "wrong": wrong} for which, wrong in found.items()])
    else:
        for which, wrong in found.items():
            click.echo(harmless("\n".join(f"{which}: {line}" for line in wrong or ("as it was pulled",))))
    if any(found.values()):
        raise RemoteProtocolError(
            "a model is not what it was", hint="cocoon model rm NAME, then pull it again"
        )


@model.command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_model(name: str, yes: bool) -> None:
    """Remove the model NAME and its files."""
    folder = _folder()
    files = folder.files(name)
    if not files.exists() and not folder.record(name).exists():
        raise ConfigurationError(f"no such model here (name={name})", hint="cocoon model list shows them")
    with folder.change(name):
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigurationError("nobody can be asked here", hint="say --yes")
            click.confirm(f"Remove {files} and all in it?", abort=True, err=True)
        folder.remove(name)
    click.echo(f"removed {name}", err=True)


def _folder() -> "ModelFolder":
    from cocoon_p2p.inference.models.folder import ModelFolder, default_models_folder

    return ModelFolder(default_models_folder(os.environ))


def _catalogue() -> "Catalogue":
    from cocoon_p2p.inference.models.catalogue import catalogue_folder, load_catalogue

    return load_catalogue(catalogue_folder(os.environ))


def _facts(entry: "ModelEntry", folder: "ModelFolder", state: str) -> dict[str, object]:
    """Give what is known of a model, in JSON's types."""
    users = list[str]()
    # A folder that is another user's can be looked at, not asked.
    with suppress(ConfigurationError):
        users = folder.users(entry.name) if state == "pulled" else []
    return {
        "name": entry.name,
        "family": entry.family,
        "size_bytes": entry.size_bytes,
        "weights_hash": entry.weights_hash.hex(),
        "licence": entry.licence,
        "context_tokens": entry.context_tokens,
        "source": entry.source,
        "revision": entry.revision,
        "state": state,
        "path": str(folder.main_path(entry)) if state == "pulled" else None,
        "used_by": users,
    }


def _row(facts: dict[str, object]) -> list[str]:
    if facts["state"] == "broken":
        return [str(facts["name"]), "", "", "", "", "broken", ""]
    return [
        str(facts["name"]),
        str(facts["family"]),
        _size(cast("int", facts["size_bytes"])),
        str(facts["weights_hash"])[:12],
        str(facts["licence"]) or "unknown",
        str(facts["state"]),
        ", ".join(cast("list[str]", facts["used_by"])),
    ]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"
