"""``voxangle serve``: the service, and its API keys."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle.cli.app import AsJson, Model, RuntimeOption, app, load_model, open_console, print_json
from voxangle.errors import MissingExtraError, VoxangleError

if TYPE_CHECKING:
    from voxangle.service.keys import ApiKey, KeyFile

serve_app = typer.Typer(
    help="The HTTP service, and its API keys.", context_settings={"help_option_names": ["-h", "--help"]}
)
keys_app = typer.Typer(help="API keys of the service.", no_args_is_help=True)
app.add_typer(serve_app, name="serve", invoke_without_command=True)
serve_app.add_typer(keys_app, name="keys")

_EXTRA = {
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "python_multipart",
    "multipart",
    "websockets",
    "av",
}

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="VOXANGLE_API_KEYS",
        help="File of the API keys. [voxangle/api-keys.json in $XDG_DATA_HOME]",
    ),
]


@serve_app.callback()
def serve(
    context: typer.Context,
    model: Model = None,
    runtime: RuntimeOption = None,
    store: Annotated[
        str | None,
        typer.Option(envvar="VOXANGLE_STORE", help="Of voiceprints: a file, or postgresql://..."),
    ] = None,
    keys: Keys = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Ask for no key; on this machine alone, to try it.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 8000,
    certificate: Annotated[Path | None, typer.Option(help="Of TLS, as PEM; none behind a proxy.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="Key of the certificate.")] = None,
    body_mb: Annotated[float, typer.Option(min=0.01, max=1024, help="The largest body, in MB.")] = 16.0,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="The longest recording.")] = 60.0,
    speech: Annotated[float, typer.Option(min=0.25, help="The least seconds of speech.")] = 1.0,
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a minute of each key.")] = 120.0,
    burst: Annotated[int, typer.Option(min=1, help="Requests of a key at once.")] = 30,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds after which a request is given up.")
    ] = 30.0,
    waiting: Annotated[int, typer.Option(min=1, help="Requests under way; more are sent away (503).")] = 64,
    streams: Annotated[int, typer.Option(min=1, help="WebSockets open at once.")] = 16,
    decoders: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 2,
    batch_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds of audio embedded at once; 0 for one recording at a time.")
    ] = 8.0,
    drain: Annotated[float, typer.Option(min=1, help="Seconds for what is under way at the end.")] = 30.0,
    check_voices: Annotated[
        bool, typer.Option(help="Refuse recordings with two voices, one after the other.")
    ] = True,
    vad: Annotated[
        bool,
        typer.Option(help="Tell speech from noise by silero-vad; without it only silence is refused."),
    ] = True,
) -> None:
    """Serve embed, score, enrol, verify, identify and delete over HTTP, until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    try:
        from voxangle.service.access import is_loopback
        from voxangle.service.serving import serve as serve_until_told
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA:
            raise MissingExtraError("the service", "serve") from error
        raise
    from voxangle.runtime.speech import SileroDetector
    from voxangle.service.service import Service
    from voxangle.service.settings import Settings
    from voxangle.voiceprints.opening import open_store

    if (certificate is None) != (certificate_key is None):
        raise VoxangleError("--certificate and --certificate-key go together")
    # The others have an upper bound, which keeps these out.
    unbounded = {
        "speech": speech,
        "rate": rate,
        "timeout": timeout,
        "batch-seconds": batch_seconds,
        "drain": drain,
    }
    for option, value in unbounded.items():
        if not math.isfinite(value):
            raise VoxangleError(f"--{option} is {value}; give a finite number")
    if open_ and not is_loopback(host):
        raise VoxangleError(
            f"--open asks for no key, so it listens on this machine alone, not on {host}: leave --host out, or make "
            "keys with `voxangle serve keys create`"
        )
    given = context.get_parameter_source("keys")
    if open_ and given is not None and given.name == "COMMANDLINE":  # of Click, or of Typer's own copy of it
        raise VoxangleError("--open asks for no key, and --keys says which to ask for: leave one of them out")
    key_file = None if open_ else _key_file(keys)
    if key_file is not None and not any(key.revoked is None for key in key_file.known()):
        raise VoxangleError(
            f"{key_file.path}: holds no valid API key, so that nobody could ask anything; make one with `voxangle "
            "serve keys create --scope admin`, or try the service on this machine with --open"
        )
    if vad:
        SileroDetector()  # missing weights are told now, and not by a decoder
    if sys.stderr.isatty():  # a log has events alone
        typer.echo("loading the model; this takes some seconds", err=True)
    embedder, _ = load_model(model, runtime)
    settings = Settings(
        body_bytes=round(body_mb * 2**20),
        seconds=seconds,
        speech_seconds=speech,
        requests_per_minute=rate,
        burst=burst,
        timeout=timeout,
        waiting=waiting,
        streams=streams,
        decoders=decoders,
        batch_seconds=batch_seconds,
        check_voices=check_voices,
    )
    with open_store(store) as prints:
        service = Service(embedder, prints, key_file, settings, "silero-vad" if vad else "level")
        scheme = "http" if certificate is None else "https"
        who = "open to this machine" if open_ else "API keys needed"
        if open_ and keys is not None:
            who += ", $VOXANGLE_API_KEYS is not read"

        def announce(address: str) -> None:
            typer.echo(f"{embedder.card.name} on {scheme}://{address} ({who}; voiceprints in {prints.place})")

        if not serve_until_told(
            service,
            host=host,
            port=port,
            drain=drain,
            certificate=certificate,
            key=certificate_key,
            announce=announce,
        ):
            raise VoxangleError(
                f"the service did not start, and its log says why; if {host}:{port} is in use, choose another --port"
            )


@keys_app.command("create")
def create_key(
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            "-s",
            help="What it allows (repeatable): embed, score, enrol, verify, identify, delete, metrics; admin: all.",
        ),
    ],
    label: Annotated[str, typer.Option(help="Who has it, for `list`.")] = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it, once: only its hash is kept."""
    from voxangle.service.keys import scopes

    key, text = _key_file(keys).create(scopes(scope), label)
    if as_json:
        print_json({**_told(key), "key": text})
        return
    typer.echo(text)
    typer.echo("This key is shown once: keep it where secrets are kept.", err=True)


@keys_app.command("list")
def list_keys(keys: Keys = None, as_json: AsJson = False) -> None:
    """API keys by id, with their scopes; never the keys themselves."""
    found = _key_file(keys).known()
    if as_json:
        print_json([_told(key) for key in found])
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("id", "scopes", "created", "revoked", "label"):
        table.add_column(heading)
    for key in found:
        told = _told(key)
        row = (key.id, " ".join(told["scopes"]), told["created"], told["revoked"] or "", key.label)
        table.add_row(*row)
    open_console().print(table)


@keys_app.command("revoke")
def revoke_key(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key useless, also for services that run."""
    key = _key_file(keys).revoke(identifier)
    if as_json:
        print_json(_told(key))
    else:
        typer.echo(f"revoked {key.id}" + (f" ({key.label})" if key.label else ""))


def _key_file(keys: Path | None) -> KeyFile:
    import os

    from voxangle.service.keys import KeyFile

    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return KeyFile(keys or data / "voxangle" / "api-keys.json")


def _told(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "created": f"{key.created:%Y-%m-%dT%H:%M:%SZ}",
        "revoked": None if key.revoked is None else f"{key.revoked:%Y-%m-%dT%H:%M:%SZ}",
    }
