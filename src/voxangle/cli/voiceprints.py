"""``voxangle voiceprints``: who is enrolled, and what else concerns the store as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle.cli.app import AsJson, app, open_console, print_json
from voxangle.errors import NameTakenError, StorageError, StoreKeyError

if TYPE_CHECKING:
    from voxangle.voiceprints import Entry, VoiceprintStore

__all__ = ["Anyway", "ExitCode", "Store", "actor", "as_content", "counted", "opened", "voiceprints_app"]

voiceprints_app = typer.Typer(
    help="The voiceprints there are: listed, carried, deleted.", no_args_is_help=True
)
app.add_typer(voiceprints_app, name="voiceprints")

_NEW_KEY = "VOXANGLE_NEW_KEY"

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="VOXANGLE_STORE",
        help="Of voiceprints: a file, or postgresql://... [voxangle/voiceprints.sqlite in $XDG_DATA_HOME]",
    ),
]
ExitCode = Annotated[
    bool,
    typer.Option("--exit-code", help="Leave with 1, not 0, where the answer is no, or that nothing decides."),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Answer where it would be refused: noise, too short, not one voice. Silence has no answer.",
    ),
]
Name = Annotated[str, typer.Argument(help="As enrolled.")]


def actor() -> str:
    """Who asks, for the audit trail: the user of this machine."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def opened(place: str | None, *, create: bool = False, records: str | None = None) -> VoiceprintStore:
    """The store asked for.

    Args:
        place: of it.
        create: make it where there is none.
        records: what its audit trail will get a line of, such as ``an identification``.

    Raises:
        StorageError: there is no store, it cannot be read, or there is something to record and it cannot be written.
    """
    from voxangle.voiceprints import open_store

    store = open_store(place, create=create)
    if records is not None:
        try:
            store.check_writable()
        except StorageError as error:
            store.close()
            raise StorageError(f"{error} ({records} is always recorded there, in the audit trail)") from error
    return store


def counted(count: int, what: str) -> str:
    """``1 recording``, ``2 recordings``."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def as_content(entry: Entry) -> dict[str, Any]:
    """A print for another program."""
    return {
        "id": entry.id,
        "name": entry.name,
        "model": asdict(entry.model),
        "calibration": None if entry.calibration is None else entry.calibration.source,
        "recordings": entry.recordings,
        "measures": asdict(entry.measures),
        "created": entry.created.isoformat(),
        "updated": entry.updated.isoformat(),
    }


@voiceprints_app.command("list")
def list_(store: Store = None, as_json: AsJson = False) -> None:
    """Who is enrolled, by name."""
    with opened(store) as prints:
        entries = prints.entries()
    if as_json:
        print_json([as_content(entry) for entry in entries])
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("name", "recordings", "speech", "model", "enrolled", "updated"):
        table.add_column(heading, justify="right" if heading in ("recordings", "speech") else "left")
    for entry in entries:
        table.add_row(
            escape(entry.name),
            str(entry.recordings),
            f"{entry.measures.speech:.1f} s",
            escape(f"{entry.model.name} ({entry.model.id[:12]})"),
            f"{entry.created:%Y-%m-%d %H:%M}",
            f"{entry.updated:%Y-%m-%d %H:%M}",
        )
    open_console().print(table)


@voiceprints_app.command()
def show(name: Name, store: Store = None, as_json: AsJson = False) -> None:
    """What is known of a person: recordings and models, without vectors."""
    with opened(store) as prints:
        found = prints.named(name)
    if as_json:
        print_json(
            [
                as_content(one.entry)
                | {
                    "from": [
                        asdict(recording.reference)
                        | asdict(recording.measures)
                        | {"added": None if recording.added is None else recording.added.isoformat()}
                        for recording in one.recordings
                    ]
                }
                for one in found
            ]
        )
        return
    for one in found:
        entry = one.entry
        typer.echo(
            f"{entry.name}: voiceprint {entry.id} of the model '{entry.model.name}' ({entry.model.id[:12]})"
        )
        typer.echo(f"enrolled {entry.created:%Y-%m-%d %H:%M} UTC, updated {entry.updated:%Y-%m-%d %H:%M} UTC")
        typer.echo(f"calibration then: {entry.calibration.source if entry.calibration else 'none'}")
        for recording in one.recordings:
            reference = recording.reference
            source = reference.file or "a recording without a name"
            checksum = f", sha256 {reference.sha256[:12]}" if reference.sha256 else ""
            typer.echo(f"  {source}: {recording.measures.speech:.1f} s of sound{checksum}")


@voiceprints_app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Of one or more people, as enrolled.")],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Forget people for good: all their voiceprints, vectors and references. All names, or none if one is unknown."""
    with opened(store) as prints:
        deleted = prints.delete(names, actor=actor())
    if as_json:
        print_json([as_content(entry) for entry in deleted])
        return
    for entry in deleted:
        typer.echo(
            f"deleted: {entry.name} ({counted(entry.recordings, 'recording')}, model '{entry.model.name}')"
        )


@voiceprints_app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write, JSON lines.")],
    clear: Annotated[
        bool, typer.Option("--clear", help="Of an encrypted store: write vectors and references in clear.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let it take the place of a file that is there.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """All voiceprints into a file, sealed with $VOXANGLE_KEY where the store is."""
    from voxangle.voiceprints.transfer import write_prints

    with opened(store, records="an export") as prints:
        if out.exists() and not out.is_file():
            raise StorageError(f"{out}: is no file, and cannot become one; name a file to write")
        if out.exists() and not replace:
            raise StorageError(f"{out}: is there already; name another file, or replace it with --replace")
        key = None if clear or prints.key_id is None else _key()
        count = write_prints(prints, out, key=key, actor=actor())
    if as_json:
        print_json({"prints": count, "file": str(out), "sealed": key is not None})
        return
    typer.echo(f"exported: {counted(count, 'voiceprint')} to {out}, readable by you alone")
    if key is None:
        typer.echo(
            "note: they are in clear: whoever has the file has the voices; delete it when it has served"
        )


@voiceprints_app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file of `voxangle voiceprints export`.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Let them take the place of those who have their names.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Voiceprints out of a file, all or none, each of the model it was enrolled with."""
    from voxangle.voiceprints.transfer import read_prints

    found = read_prints(path, key=_key())
    with opened(store, create=True) as prints:
        try:
            count = prints.put(found, replace=replace, actor=actor())
        except NameTakenError as error:
            raise NameTakenError(f"{path}: {error}") from error
        place = prints.place
    models = Counter(one.entry.model for one in found)
    if as_json:
        by_model = [{"name": model.name, "id": model.id, "prints": many} for model, many in models.items()]
        print_json({"prints": count, "store": place, "models": by_model})
        return
    typer.echo(f"imported: {counted(count, 'voiceprint')} into {place}")
    for model, many in models.items():
        typer.echo(f"  {many} by the model '{model.name}' ({model.id[:12]})")


@voiceprints_app.command()
def audit(
    name: Annotated[str | None, typer.Option("--of", help="Only of this person's voiceprints.")] = None,
    print_id: Annotated[
        str | None, typer.Option("--id", help="Only of this voiceprint, which may be deleted.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most lines, the newest.")] = 50,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Who did what when, the newest first. It names nobody but those who asked."""
    with opened(store) as prints:
        wanted = [one.entry.id for one in prints.named(name)] if name else [print_id]
        events = [event for one in wanted for event in prints.audit(print_id=one, limit=limit)]
    events = sorted(events, key=lambda event: event.at, reverse=True)[:limit]
    if as_json:
        print_json([asdict(event) | {"at": event.at.isoformat()} for event in events])
        return
    for event in events:
        detail = ", ".join(f"{what} {value}" for what, value in event.detail.items())
        about = f" {event.print_id}" if event.print_id else ""
        typer.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {event.actor}: {event.action}{about} ({detail})")


@voiceprints_app.command("new-key")
def new_key() -> None:
    """Draw a key for an encrypted store; keep it where the store is not. Without it nobody reads the store."""
    from voxangle.voiceprints.sealing import new_key as draw

    typer.echo(draw())


@voiceprints_app.command()
def rotate(
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Keep all in clear from now on.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt vectors and references anew: from $VOXANGLE_KEY, or in clear, to $VOXANGLE_NEW_KEY."""
    import os

    new = None if decrypt else os.environ.get(_NEW_KEY)
    if not decrypt and not new:
        raise StoreKeyError(
            f"put the new key into ${_NEW_KEY} (`voxangle voiceprints new-key` draws one), or give --decrypt"
        )
    with opened(store) as prints:
        count = prints.rotate(new, actor=actor())
        key_id = prints.key_id
    if as_json:
        print_json({"prints": count, "key_id": key_id})
    elif key_id is None:
        typer.echo(f"decrypted: {counted(count, 'voiceprint')}, in clear from now on; unset $VOXANGLE_KEY")
    else:
        typer.echo(
            f"encrypted: {counted(count, 'voiceprint')} with the key {key_id}; put it into $VOXANGLE_KEY now, in place "
            f"of ${_NEW_KEY}"
        )


def _key() -> str | None:
    import os

    from voxangle.voiceprints.sealing import KEY_VARIABLE

    return os.environ.get(KEY_VARIABLE) or None
