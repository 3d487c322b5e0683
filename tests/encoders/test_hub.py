"""Models go to a hub and come back, by the library's own client and real HTTP to a hub in miniature."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("huggingface_hub", reason="the hub extra is not installed")

from huggingface_hub import constants

from tests.encoders import hub_server
from tests.encoders.test_model_files import FULL, model
from voxangle.encoders.hub import HubCommit, pull_model, push_model
from voxangle.encoders.model_files import read_model, rewrite_card
from voxangle.errors import CheckpointError, VoxangleError


def address(patch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """What $HF_ENDPOINT and $HF_HUB_CACHE would have said had they been set when the library was imported."""
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setenv("HF_TOKEN", hub_server.TOKEN)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    with hub_server.serve() as hub:
        address(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model(card=FULL).save(tmp_path / "mine")
    return tmp_path / "mine"


def files(hub: hub_server.Hub, name: str = "somebody/voice") -> dict[str, bytes]:
    repository = hub.repositories[name]
    return {
        key: value for key, value in repository.commits[repository.head].items() if not key.startswith(".")
    }


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("form", ["mine", "mine.safetensors"])
def test_a_model_comes_back_as_it_went(hub: hub_server.Hub, tmp_path: Path, form: str, half: bool) -> None:
    model(card=FULL).save(tmp_path / form, half=half)
    pushed = push_model(tmp_path / form, "somebody/voice")
    pulled = pull_model("somebody/voice", tmp_path / "back")
    assert pushed == pulled == HubCommit("somebody/voice", hub.repositories["somebody/voice"].head)
    gone, come = read_model(tmp_path / form), read_model(tmp_path / "back")
    assert (come.card, come.weights_sha256) == (gone.card, gone.weights_sha256)
    assert sorted(file.name for file in (tmp_path / "back").iterdir()) == ["model.json", "model.safetensors"]


def test_the_page_has_the_front_matter_that_hubs_read(hub: hub_server.Hub, folder: Path) -> None:
    push_model(folder, "somebody/voice")
    assert sorted(files(hub)) == ["README.md", "model.json", "model.safetensors"]
    _, front, page = files(hub)["README.md"].decode().split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["license"], told["library_name"]) == ("cc-by-4.0", "voxangle")
    (result,) = told["model-index"][0]["results"]
    assert result["dataset"]["name"] == "pooled | all"
    assert result["metrics"][0]["value"] == 0.1234
    assert "voxangle verify --model models/voice " in page


def test_a_licence_that_hubs_do_not_know_goes_by_its_name(hub: hub_server.Hub, folder: Path) -> None:
    rewrite_card(folder, FULL.model_copy(update={"licence": "Ours, see page"}))
    push_model(folder, "somebody/voice")
    told = yaml.safe_load(files(hub)["README.md"].decode().split("---\n", 2)[1])
    assert (told["license"], told["license_name"]) == ("other", "Ours, see page")


def test_without_a_licence_only_privately(hub: hub_server.Hub, folder: Path) -> None:
    rewrite_card(folder, FULL.model_copy(update={"licence": None, "origin": None}))
    with pytest.raises(CheckpointError, match="say under which licence others may use the model"):
        push_model(folder, "somebody/voice")
    assert not hub.repositories
    push_model(folder, "somebody/voice", private=True)
    assert hub.repositories["somebody/voice"].private


def test_a_public_repository_does_not_become_private_by_asking(hub: hub_server.Hub, folder: Path) -> None:
    push_model(folder, "somebody/voice")
    with pytest.raises(VoxangleError, match="is public already"):
        push_model(folder, "somebody/voice", private=True)
    assert len(hub.repositories["somebody/voice"].commits) == 2


def test_a_private_repository_stays_so_without_asking_again(hub: hub_server.Hub, folder: Path) -> None:
    rewrite_card(folder, FULL.model_copy(update={"licence": None, "origin": None}))
    push_model(folder, "somebody/voice", private=True)
    push_model(folder, "somebody/voice")
    assert hub.repositories["somebody/voice"].private


def test_an_address_that_is_none(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address(monkeypatch, "http://[bad", tmp_path / "cache")
    with pytest.raises(VoxangleError, match=r"somebody/voice: the hub at http://\[bad cannot be reached"):
        push_model(folder, "somebody/voice")


def test_pushing_again_adds_a_commit(hub: hub_server.Hub, folder: Path, tmp_path: Path) -> None:
    first = push_model(folder, "somebody/voice")
    rewrite_card(folder, FULL.model_copy(update={"name": "better"}))
    second = push_model(folder, "somebody/voice")
    assert first.revision != second.revision
    assert pull_model("somebody/voice", tmp_path / "new") == second
    assert pull_model("somebody/voice", tmp_path / "old", revision=first.revision) == first
    assert [read_model(tmp_path / which).card.name for which in ("old", "new")] == [FULL.name, "better"]


def test_only_the_files_of_a_model_are_fetched(hub: hub_server.Hub, folder: Path, tmp_path: Path) -> None:
    push_model(folder, "somebody/voice")
    hub.repositories["somebody/voice"].commit({"weights.pt": b"a pickle", "run.py": b"import os"})
    pull_model("somebody/voice", tmp_path / "back")
    assert not [line for line in hub.requests if "weights.pt" in line or "run.py" in line]


def test_a_repository_without_a_model_of_ours(hub: hub_server.Hub, tmp_path: Path) -> None:
    hub.repositories["somebody/other"] = hub_server.Repository()
    hub.repositories["somebody/other"].commit({"pytorch_model.bin": b"\x80\x02"})
    with pytest.raises(CheckpointError, match=r"somebody/other: no model of voxangle.*`voxangle import`"):
        pull_model("somebody/other", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_broken_model_replaces_nothing(hub: hub_server.Hub, folder: Path, tmp_path: Path) -> None:
    push_model(folder, "somebody/voice")
    weights = bytearray(files(hub)["model.safetensors"])
    weights[-9] ^= 1
    hub.repositories["somebody/voice"].commit({"model.safetensors": bytes(weights)})
    model(seed=1).save(tmp_path / "back")
    before = read_model(tmp_path / "back").weights_sha256
    with pytest.raises(CheckpointError, match="not the weights that"):
        pull_model("somebody/voice", tmp_path / "back")
    assert read_model(tmp_path / "back").weights_sha256 == before


@pytest.mark.parametrize(
    ("repository", "revision", "cause"),
    [
        ("somebody/nothing", None, "no such repository, or a private one"),
        ("somebody/voice", "v9", "has no such revision"),
        ("no name at all", None, "not a name of a repository, which is OWNER/NAME"),
    ],
)
def test_what_is_not_there(
    hub: hub_server.Hub, folder: Path, tmp_path: Path, repository: str, revision: str | None, cause: str
) -> None:
    push_model(folder, "somebody/voice")
    with pytest.raises(VoxangleError, match=f"{repository}: .*{cause}"):
        pull_model(repository, tmp_path / "back", revision=revision)


def test_a_stranger_may_not_push(hub: hub_server.Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(VoxangleError, match=r"somebody/voice: .*\$HF_TOKEN"):
        push_model(folder, "somebody/voice")


def test_a_hub_that_is_not_there(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    with pytest.raises(VoxangleError, match="cannot be reached"):
        pull_model("somebody/voice", tmp_path / "back")
    with pytest.raises(VoxangleError, match="cannot be reached"):
        push_model(folder, "somebody/voice")


def test_loading_a_model_asks_nobody(hub: hub_server.Hub, folder: Path) -> None:
    push_model(folder, "somebody/voice")
    hub.requests.clear()
    read_model(folder)
    with pytest.raises(CheckpointError, match="no model here"):
        read_model("somebody/voice")
    assert not hub.requests


def test_from_the_command_line(tmp_path: Path, folder: Path) -> None:
    with hub_server.serve() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": hub_server.TOKEN,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

        def voxangle(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "voxangle", *words]
            return subprocess.run(
                command, env=environment | more, cwd=tmp_path, capture_output=True, text=True, check=False
            )

        pushed = voxangle("push", "somebody/voice", "--model", str(folder))
        assert pushed.returncode == 0, pushed.stderr
        assert "somebody/voice holds the model, commit" in pushed.stdout
        pulled = voxangle("pull", "somebody/voice")
        assert pulled.returncode == 0, pulled.stderr
        assert (
            json.loads((tmp_path / "models" / "voice" / "model.json").read_text())["card"]["name"]
            == FULL.name
        )
        offline = voxangle("pull", "somebody/else", HF_HUB_OFFLINE="1")
        assert offline.returncode == 2
        assert offline.stderr.startswith("error: somebody/else: ")
        assert "Traceback" not in offline.stderr
        nowhere = voxangle("pull", "somebody/voice", HF_ENDPOINT="http://[bad")
        assert nowhere.returncode == 2
        assert nowhere.stderr.startswith("error: $HF_ENDPOINT is no address of a hub")
        assert "Traceback" not in nowhere.stderr
        again = voxangle("pull", "somebody/voice", "--out", "again", HF_HUB_OFFLINE="1")
        assert again.returncode == 0, again.stderr
