"""`voxangle serve`: an exported model, a process of its own without torch, real signals."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

import voxangle.cli.serve  # noqa: F401 - joins the application
from tests.service.toys import problem
from voxangle.cli.app import app
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.encoders.onnx_export import export_onnx
from voxangle.errors import VoxangleError
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime.card import Calibration
from voxangle.service.serving import _check_certificate, serve

WITHOUT_TORCH = """
import sys
for name in ("torch", "safetensors", "yaml", "matplotlib"):
    sys.modules[name] = None
import voxangle.cli.serve
from voxangle.cli import main
main()
"""


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)]


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, exported; it answers, rightly or not."""
    torch.manual_seed(0)
    config = ECAPATDNNConfig(
        bins=20, channels=8, scale=2, aggregation=12, squeeze=4, attention=4, dimension=10
    )
    card = ModelCard(
        name="tiny",
        encoder=config,
        filterbank=FilterbankConfig(bins=20),
        calibration=Calibration(scale=9.0, offset=-3.0, source="no trials"),
    )
    folder = tmp_path_factory.mktemp("model")
    Embedder(Filterbank(card.filterbank), ECAPATDNN(config).eval(), card).save(folder)
    export_onnx(Embedder.load(folder, device="cpu"), folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def process(model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    keys = tmp_path / "keys.json"
    words = ["serve", "--model", model, "--store", tmp_path / "p.sqlite", "--keys", keys, "--port", 0]
    words += ["--no-vad", "--no-check-voices", "--decoders", 1]
    made = ran("serve", "keys", "create", "--scope", "embed", "--keys", keys)
    assert made.returncode == 0, made.stderr
    (tmp_path / "key").write_text(made.stdout.strip())
    started = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    yield started
    started.kill()
    started.communicate()


def test_it_serves_finishes_what_it_accepted_and_ends(
    process: subprocess.Popen[str], tmp_path: Path, wavs: list[list[bytes]]
) -> None:
    assert process.stderr is not None
    assert process.stdout is not None
    listening = json.loads(process.stderr.readline())
    assert listening["event"] == "listening"
    assert "API keys needed" in process.stdout.readline()
    key = (tmp_path / "key").read_text()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "audio/wav"}
    with httpx.Client(base_url=f"http://{listening['addresses'][0]}/v1", headers=headers) as client:
        answer = client.post("/embed", content=wavs[0][0])
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["embedding"]) == 10
        assert problem(client.post("/verify")) == "out-of-scope"
        arrived, told = threading.Event(), threading.Event()

        def content() -> Iterator[bytes]:
            yield wavs[0][0][:1000]
            arrived.set()
            told.wait()
            yield wavs[0][0][1000:]

        late: list[httpx.Response] = []
        asker = threading.Thread(target=lambda: late.append(client.post("/embed", content=content())))
        asker.start()
        arrived.wait()
        process.send_signal(signal.SIGTERM)
        while json.loads(process.stderr.readline())["event"] != "ending":
            pass
        told.set()
        asker.join()
    assert late[0].status_code == 200
    assert late[0].json() == answer.json()
    assert json.loads(process.stderr.readlines()[-1])["event"] == "ended"
    assert process.wait(20) in {0, -signal.SIGTERM}


def test_a_busy_port_is_not_announced(model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["serve", "--open", "--model", model, "--store", tmp_path / "p.sqlite", "--port", port]
        done = ran(*words, "--no-vad", "--decoders", 1)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"127.0.0.1:{port} is in use" in " ".join(done.stderr.split())


def certificate_and_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Files of a certificate that signs itself, and of its key."""
    made = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(made.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=36_500))
        .sign(made, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return files


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (mine, key), (_, other) = certificate_and_key(tmp_path, "mine"), certificate_and_key(tmp_path, "other")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    _check_certificate(mine, key)
    for certificate, its_key, message in (
        (tmp_path / "nix.pem", key, "nix.pem: cannot be read"),
        (mine, tmp_path / "nix.key", "nix.key: cannot be read"),
        (broken, key, "broken.pem: holds no certificate"),
        (mine, broken, "broken.pem: is not the key of .*mine.pem"),
        (mine, other, "other.key: is not the key of .*mine.pem"),
    ):
        with pytest.raises(VoxangleError, match=message):
            serve(None, host="127.0.0.1", port=0, certificate=certificate, key=its_key)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["1e300", "inf", "nan"])
def test_a_body_without_bounds_is_no_option(size: str) -> None:
    done = CliRunner().invoke(app, ["serve", "--open", "--body-mb", size])
    assert done.exit_code == 2
    assert "--body-mb" in done.stderr


def test_keys_of_the_surroundings_do_not_close_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXANGLE_API_KEYS", str(tmp_path / "keys.json"))
    with pytest.raises(VoxangleError, match=r"nix\.onnx: missing"):
        CliRunner().invoke(app, ["serve", "--open", "--model", "nix.onnx"], catch_exceptions=False)


def test_who_watches_is_told_that_the_model_loads() -> None:
    """In a terminal alone: a log has a line of JSON an event."""
    words = command("serve", "--open", "--no-vad", "--model", "nix.onnx")
    parent, terminal = os.openpty()
    done = subprocess.run(words, stderr=terminal, stdout=subprocess.DEVNULL, check=False)
    os.close(terminal)
    said = os.read(parent, 4096).decode().splitlines()
    os.close(parent)
    assert done.returncode == 2
    assert said[0] == "loading the model; this takes some seconds"
    assert said[1].startswith("error: nix.onnx")


def said(*words: object) -> Any:
    """What a command prints as JSON."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    keys = ["--keys", tmp_path / "keys.json"]
    made = said("serve", "keys", "create", "-s", "embed", "-s", "score", "--label", "kiosk", *keys)
    assert made["key"].startswith(f"vxa_{made['id']}_")
    assert said("serve", "keys", "list", *keys) == [{name: made[name] for name in made if name != "key"}]
    assert said("serve", "keys", "revoke", made["id"], *keys)["revoked"]
    with pytest.raises(VoxangleError, match="was revoked already"):
        said("serve", "keys", "revoke", made["id"], *keys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--model", "m.onnx"], "holds no valid API key.*serve keys create.*--open"),
        (["serve", "--model", "m.onnx", "--open", "--host", "0.0.0.0"], "listens on this machine alone"),
        (["serve", "--model", "nix.onnx", "--open"], "nix.onnx: missing"),
        (
            ["serve", "--open", "--keys", "k.json"],
            "--open asks for no key, and --keys says which .* leave one",
        ),
        (["serve", "--open", "--rate", "inf"], "--rate is inf; give a finite number"),
        (["serve", "--open", "--certificate", "a.pem"], "--certificate and --certificate-key go together"),
        (["serve", "keys", "create", "--scope", "embd"], "'embd' is no scope; did you mean 'embed'"),
        (["serve", "keys", "revoke", "12345678"], "has no key '12345678'; it has none at all"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("VOXANGLE_API_KEYS", raising=False)
    with pytest.raises(VoxangleError, match=f"(?s){message}"):
        CliRunner().invoke(app, words, catch_exceptions=False)
