"""``voxangle embed`` and ``voxangle verify``: a model on recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxangle.cli.app import AsJson, Model, RuntimeOption, app, load_model, open_console, print_json
from voxangle.errors import VoxangleError


@app.command()
def embed(
    paths: Annotated[list[Path] | None, typer.Argument(help="Recordings, or folders of them.")] = None,
    model: Model = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="A file with a path a line; its text becomes the key.")
    ] = None,
    root: Annotated[Path, typer.Option(help="What the list's paths are relative to.")] = Path(),
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write.")] = Path("embeddings.npz"),
    runtime: RuntimeOption = None,
) -> None:
    """One embedding a recording, in an .npz by key: the list's line, or the path as given."""
    from voxangle.console import counting
    from voxangle.errors import AudioError, CorpusError
    from voxangle.runtime.archive import write_embeddings

    if bool(paths) == bool(list_file):
        raise VoxangleError("give recordings or folders, or a --list of them")
    files = _listed(list_file, root) if list_file else _found(paths or [])
    embedder, _ = load_model(model, runtime)
    left_out: list[AudioError] = []
    with counting(open_console(), "embedding") as on_progress:
        embedded = embedder.embed_files(
            list(files.values()), on_progress=on_progress, on_error=left_out.append
        )
    for error in left_out:
        typer.echo(f"left out: {error}", err=True)
    if not len(embedded.kept):
        raise CorpusError(f"none of the {len(files)} recordings can be used; nothing was written")
    keys = list(files)
    write_embeddings(out, [keys[row] for row in embedded.kept], embedded.embeddings)
    typer.echo(
        f"{len(embedded.kept)} embeddings of {embedder.dimension} dimensions are in {out}"
        + (f"; {len(left_out)} recordings were left out" if left_out else "")
    )


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(help="A recording.")],
    second: Annotated[Path, typer.Argument(help="Another recording.")],
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(help="Decide here instead of at the model's.")] = None,
    runtime: RuntimeOption = None,
    as_json: AsJson = False,
) -> None:
    """Is it the same voice? The score, the decision, and where the threshold comes from."""
    import math

    import numpy as np

    embedder, _ = load_model(model, runtime)
    a, b = embedder.embed_files([first, second]).embeddings
    score = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    known = embedder.card.threshold
    if threshold is not None and not math.isfinite(threshold):
        raise VoxangleError(f"--threshold {threshold}: expected a number")
    if threshold is not None:
        limit, source = threshold, "given on the command line"
    elif known is not None:
        limit, source = known.value, known.source
        if known.false_acceptance is not None and known.false_rejection is not None:
            source += (
                f": {100 * known.false_acceptance:.1f} % false acceptances, "
                f"{100 * known.false_rejection:.1f} % false rejections there"
            )
    else:
        limit, source = None, "the model has none; give one with --threshold"
    same = None if limit is None else score >= limit
    if as_json:
        print_json(
            {
                "score": score,
                "same_voice": same,
                "threshold": limit,
                "threshold_source": source,
                "model": embedder.card.name,
            }
        )
        return
    decision = {None: "no decision", True: "the same voice", False: "different voices"}[same]
    console = open_console()
    console.print(f"[bold]{decision}[/bold]", highlight=False)
    console.print(f"score      {score:.4f} (cosine)", highlight=False)
    console.print(
        f"threshold  {'none' if limit is None else f'{limit:.4f}'} ({source})",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"model      {embedder.card.name}", highlight=False)


def _listed(list_file: Path, root: Path) -> dict[str, Path]:
    from voxangle.errors import CorpusError

    try:
        lines = [line.removesuffix("\r") for line in list_file.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{list_file}: cannot be read as a list of recordings ({error})") from error
    if any("\0" in line for line in lines):
        raise CorpusError(f"{list_file}: holds a NUL byte, so it is no list of recordings")
    files = {line: root / line for line in lines if line.strip()}
    if not files:
        raise CorpusError(f"{list_file}: the list is empty")
    return files


def _found(paths: list[Path]) -> dict[str, Path]:
    from voxangle.audio import AUDIO_SUFFIXES
    from voxangle.errors import CorpusError

    files: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in AUDIO_SUFFIXES]
            if not inside:
                raise CorpusError(
                    f"{path}: no recordings in this folder ({', '.join(sorted(AUDIO_SUFFIXES))})"
                )
            files.update((str(file), file) for file in inside)
        else:
            files[str(path)] = path
    return files
