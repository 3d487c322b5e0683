"""``voxangle enrol``, ``verify --as``, ``identify`` and ``voiceprints``, as a script uses them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import Result
from typer.testing import CliRunner

import voxangle.cli.enrol
import voxangle.cli.identify  # noqa: F401
from tests.conftest import voice
from tests.encoders.test_model_files import model
from tests.voiceprints.test_sqlite_store import shut, unprivileged  # noqa: F401 - a fixture
from voxangle.cli import app
from voxangle.encoders.model_files import read_model, rewrite_card
from voxangle.errors import (
    AudioError,
    EnrolmentError,
    NameTakenError,
    OtherModelError,
    SpeechError,
    StorageError,
    StoreKeyError,
    VoxangleError,
)
from voxangle.runtime.card import Calibration

SPEAKERS = (4, 5, 9)  # made-up voices that an untrained encoder tells apart


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def told(*words: object) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output or result.exception
    return json.loads(result.output)


def refused(kind: type[VoxangleError], *words: object) -> str:
    result = run(*words)
    assert isinstance(result.exception, kind), result.exception or result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def long_voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three made-up voices, three recordings of 4 s each."""
    folder = tmp_path_factory.mktemp("long")
    for number, speaker in enumerate(SPEAKERS):
        for utterance in range(3):
            soundfile.write(folder / f"s{number}u{utterance}.wav", voice(speaker, utterance, 4.0), 16_000)
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, long_voices: Path) -> Path:
    """A model with a calibration that tells these voices apart: halfway between the same and others."""
    folder = tmp_path_factory.mktemp("model") / "mine"
    model().save(folder)
    from voxangle.encoders import Embedder

    files = sorted(long_voices.glob("*.wav"))
    vectors = Embedder.load(folder, device="cpu").embed_files(files).embeddings.astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    labels = np.arange(9) // 3
    same = cosines[(labels[:, None] == labels) & ~np.eye(9, dtype=bool)]
    other = cosines[labels[:, None] != labels]
    middle = (same.min() + other.max()) / 2
    assert same.min() > other.max()
    scale = 20 / (same.min() - other.max())  # at least 10 nats for, or against, one voice
    fit = Calibration(scale=scale, offset=-scale * middle, source="made up")
    rewrite_card(folder, read_model(folder).card.model_copy(update={"calibration": fit}))
    return folder


@pytest.fixture
def people(fitted: Path, long_voices: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two of the three are enrolled."""
    monkeypatch.setenv("VOXANGLE_MODEL", str(fitted))
    for number, name in enumerate(["ada", "bob [b]"]):
        files = [long_voices / f"s{number}u{utterance}.wav" for utterance in (0, 1)]
        told("enrol", name, *files)
    return long_voices


def test_a_claim_is_verified(people: Path) -> None:
    right = told("verify", people / "s0u2.wav", "--as", "ada")
    wrong = told("verify", people / "s1u2.wav", "--as", "ada")
    assert (right["same_voice"], wrong["same_voice"]) == (True, False)
    assert right["log_likelihood_ratio"] > 5 > -5 > wrong["log_likelihood_ratio"]
    assert (right["voiceprint"]["name"], right["voiceprint"]["recordings"]) == ("ada", 2)
    assert right["decided_by"] == "log_likelihood_ratio"
    pair = told("verify", people / "s0u2.wav", people / "s0u0.wav")
    assert set(right) - set(pair) == {"voiceprint"}
    said = run("verify", people / "s0u2.wav", "--as", "bob [b]").output
    assert said.startswith("not the voice of bob [b]\n")
    assert run("verify", people / "s0u2.wav", "--as", "ada").output.startswith("the voice of ada\n")


def test_exit_codes_tell_a_script(people: Path) -> None:
    own, other = people / "s0u2.wav", people / "s2u0.wav"
    for words, code in (
        (("verify", own, "--as", "ada"), 0),
        (("verify", other, "--as", "ada"), 1),
        (("verify", own, people / "s0u0.wav"), 0),
        (("verify", own, other), 1),
        (("identify", own), 0),
        (("identify", other), 1),
    ):
        assert run(*words, "--exit-code").exit_code == code
        assert run(*words, "--exit-code", "--json").exit_code == code
        assert run(*words).exit_code == 0


def test_a_voice_is_identified_or_nobody(people: Path) -> None:
    found = told("identify", people / "s1u2.wav")
    assert found["identified"] == "bob [b]"
    assert [one["entry"]["name"] for one in found["candidates"]] == ["bob [b]", "ada"]
    assert sum(one["probability"] for one in found["candidates"]) + found["nobody"] == pytest.approx(1)
    assert found["threshold"] == pytest.approx(np.log(2))
    assert run("identify", people / "s1u2.wav").output.startswith("bob [b]\n")
    stranger = told("identify", people / "s2u0.wav", "--top", 1)
    assert (stranger["identified"], stranger["decided"], len(stranger["candidates"])) == (None, True, 1)
    assert stranger["nobody"] > 0.9
    assert run("identify", people / "s2u0.wav").output.startswith("nobody who is enrolled\n")


def test_by_half_a_second_nobody_is_identified(people: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(people / "s1u2.wav")
    soundfile.write(tmp_path / "short.wav", samples[: rate // 2], rate)
    for words in (("identify",), ("verify", "--as", "ada"), ("verify", people / "s1u2.wav")):
        message = refused(SpeechError, *words, tmp_path / "short.wav")
        assert "short.wav has 0.5 s of speech, and at least 1 s are needed; speak a little longer" in message
    assert [one["action"] for one in told("voiceprints", "audit")] == ["enrol", "enrol"]


def test_the_prior_and_the_costs_of_an_identification_count(people: Path) -> None:
    ratio = told("identify", people / "s1u2.wav")["candidates"][0]["log_likelihood_ratio"]
    told_of = told("identify", people / "s1u2.wav", "--prior", 0.1, "--c-fa", 10)
    assert told_of["threshold"] == pytest.approx(np.log(9 * 10 * 2))
    assert (told_of["identified"] is not None) == (ratio >= told_of["threshold"])
    assert told("identify", people / "s1u2.wav", "--c-fa", 1e30)["identified"] is None
    score = told("identify", people / "s2u0.wav", "--threshold", -1)
    assert (score["identified"] is not None, score["decided_by"], len(score["notes"])) == (True, "score", 2)


def test_without_a_calibration_nobody_is_identified_by_chance(
    people: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = shutil.copytree(fitted, tmp_path / "plain")
    rewrite_card(plain, read_model(plain).card.model_copy(update={"calibration": None}))
    monkeypatch.setenv("VOXANGLE_MODEL", str(plain))
    found = told("identify", people / "s0u2.wav")
    assert (found["identified"], found["decided"], found["nobody"]) == (None, False, None)
    assert "voxangle calibrate" in found["threshold_source"]
    assert run("identify", people / "s0u2.wav").output.startswith("no decision\n")
    assert "has no calibration" in refused(VoxangleError, "identify", people / "s0u2.wav", "--prior", 0.1)
    assert told("verify", people / "s0u2.wav", "--as", "ada")["decided_by"] == "score"


def test_a_store_is_listed_shown_and_forgotten(people: Path) -> None:
    assert [one["name"] for one in told("voiceprints", "list")] == ["ada", "bob [b]"]
    assert "bob [b]" in run("voiceprints", "list").output
    (shown,) = told("voiceprints", "show", "ada")
    assert [one["file"] for one in shown["from"]] == ["s0u0.wav", "s0u1.wav"]
    assert all(len(one["sha256"]) == 64 for one in shown["from"])
    assert "s0u1.wav: 4.0 s of sound" in run("voiceprints", "show", "ada").output
    assert [one["name"] for one in told("voiceprints", "delete", "ada", "bob [b]")] == ["ada", "bob [b]"]
    assert told("voiceprints", "list") == []
    found = told("identify", people / "s0u2.wav")
    assert (found["identified"], found["enrolled"]) == (None, 0)
    actions = [one["action"] for one in told("voiceprints", "audit")]
    assert actions == ["identify", "delete", "delete", "enrol", "enrol"]


def test_recordings_that_make_no_print_are_refused(people: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(people / "s2u0.wav")
    soundfile.write(tmp_path / "short.wav", samples[: rate // 2], rate)
    soundfile.write(tmp_path / "loud.wav", np.clip(30 * samples, -0.99, 0.99), rate)
    two = [people / "s2u0.wav", people / "s1u0.wav"]
    for files, message in (
        ([tmp_path / "short.wav"], "short.wav has 0.5 s of speech, and at least 1 s are needed; speak"),
        ([tmp_path / "loud.wav"], "loud.wav is clipped"),
        (two, "s2u0.wav does not sound like s1u0.wav"),
        ([two[0], two[0]], "s2u0.wav is the same file as another"),
    ):
        assert message in refused(EnrolmentError, "enrol", "eve", *files)
    assert [one["name"] for one in told("voiceprints", "list")] == ["ada", "bob [b]"]
    warned = told("enrol", "eve", *two, "--anyway")["warnings"]
    assert any("two voices are the likelier explanation" in warning for warning in warned)
    assert "does not sound like the voiceprint" in refused(EnrolmentError, "enrol", "ada", two[0], "--add")
    assert "the same file" in refused(EnrolmentError, "enrol", "ada", people / "s0u0.wav", "--add")
    assert told("enrol", "ada", people / "s0u2.wav", "--add")["recordings"] == 3


def test_references_are_kept_only_where_wanted(people: Path) -> None:
    told("enrol", "eve", people / "s2u0.wav", "--no-references")
    (shown,) = told("voiceprints", "show", "eve")
    assert [(one["file"], one["sha256"]) for one in shown["from"]] == [(None, None)]
    assert "a recording without a name: 4.0 s of sound\n" in run("voiceprints", "show", "eve").output


def test_one_is_not_said_as_many(people: Path, tmp_path: Path) -> None:
    assert "enrolled: eve, 1 recording with 4.0 s of sound" in run("enrol", "eve", people / "s2u0.wav").output
    assert "added to: eve, 2 recordings with" in run("enrol", "eve", people / "s2u1.wav", "--add").output
    assert run("voiceprints", "delete", "ada").output.startswith("deleted: ada (2 recordings, model")
    told("voiceprints", "delete", "eve")
    out = tmp_path / "one.jsonl"
    assert run("voiceprints", "export", out).output.startswith(f"exported: 1 voiceprint to {out}")
    assert run("voiceprints", "import", out, "--replace").output.startswith("imported: 1 voiceprint into ")


def test_silence_has_no_answer_whatever_is_asked(people: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(48_000), 16_000)
    said = f"{silent}: is silent (below -80 dBFS throughout); record it again, or leave it out"
    for words in (
        ("enrol", "eve"),
        ("identify",),
        ("verify", "--as", "ada"),
        ("verify", people / "s0u0.wav"),
    ):
        assert refused(AudioError, *words, silent) == refused(AudioError, *words, silent, "--anyway") == said


def test_prints_travel_to_another_store_and_stay_of_their_model(
    people: Path, tmp_path: Path, fitted: Path
) -> None:
    out = tmp_path / "all.jsonl"
    assert told("voiceprints", "export", out) == {"prints": 2, "file": str(out), "sealed": False}
    assert out.stat().st_mode & 0o777 == 0o600
    before = out.read_text()
    assert "all.jsonl: is there already; name another file, or replace it with --replace" in refused(
        StorageError, "voiceprints", "export", out
    )
    for place in (tmp_path, "/dev/full"):
        assert "is no file" in refused(StorageError, "voiceprints", "export", place, "--replace")
    assert out.read_text() == before
    assert run("voiceprints", "export", out, "--replace").output.startswith("exported: 2 voiceprints to ")
    there = ["--store", tmp_path / "there.sqlite"]
    assert told("voiceprints", "import", out, *there)["prints"] == 2
    before = [told("voiceprints", "show", name) for name in ("ada", "bob [b]")]
    assert before == [told("voiceprints", "show", name, *there) for name in ("ada", "bob [b]")]
    claim = ["verify", people / "s0u2.wav", "--as", "ada"]
    assert told(*claim, *there) == told(*claim)
    model(seed=1).save(tmp_path / "other")
    assert "cannot be compared" in refused(OtherModelError, *claim, "--model", tmp_path / "other")
    others = told("identify", people / "s0u2.wav", "--model", tmp_path / "other")
    assert others["enrolled"] == 0
    assert others["notes"][0].startswith("2 voiceprints of other models were left out")
    told("enrol", "ada", people / "s0u0.wav", "--model", tmp_path / "other")
    told("voiceprints", "export", out, "--replace")
    both = told("voiceprints", "import", out, "--store", tmp_path / "both.sqlite")
    assert [one["prints"] for one in both["models"]] == [2, 1]
    assert told("voiceprints", "list", "--store", tmp_path / "both.sqlite") == told("voiceprints", "list")
    message = refused(NameTakenError, "voiceprints", "import", out, *there)
    assert "all.jsonl: 'ada' is enrolled already" in message
    assert "--replace" in message
    assert "--add" not in message
    told("voiceprints", "delete", "ada")
    told("voiceprints", "import", out, "--replace")
    lines = out.read_text().splitlines(keepends=True)
    for broken, words in (
        (lines[:2], "holds 1 voiceprints of 3, truncated"),
        (["{}\n", *lines[1:]], "line 1: not a file of `voxangle voiceprints export`"),
        ([*lines[:2], lines[2][:50]], "line 3: a broken line"),
        ([*lines[:2], lines[2].replace('"vector": "', '"vector": "AAAA')], "is not of 24 dimensions"),
        ([*lines[:2], re.sub('"speech": [0-9.]+', '"speech": -5', lines[2])], "line 3: a broken line"),
    ):
        (tmp_path / "broken.jsonl").write_text("".join(broken))
        assert words in refused(VoxangleError, "voiceprints", "import", tmp_path / "broken.jsonl", *there)
    assert told("voiceprints", "import", out, "--replace", *there)["prints"] == 3
    assert len(told("voiceprints", "list", *there)) == 3


def test_a_store_is_not_written_over_by_its_own_export(people: Path, tmp_path: Path) -> None:
    place = Path(told("enrol", "eve", people / "s2u0.wav")["store"])
    link = tmp_path / "link.jsonl"
    link.symlink_to(place)
    for out in (place, link, Path(f"{place}-wal")):
        message = refused(StorageError, "voiceprints", "export", out, "--replace")
        assert f"{out}: is the store itself; name another file" in message
    assert "eve" in {one["name"] for one in told("voiceprints", "list")}


def test_a_sealed_store_is_exported_sealed(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    key = run("voiceprints", "new-key").output.strip()
    assert "VOXANGLE_NEW_KEY" in refused(StoreKeyError, "voiceprints", "rotate")
    monkeypatch.setenv("VOXANGLE_NEW_KEY", key)
    monkeypatch.setenv("VOXANGLE_KEY", key)
    assert "is not encrypted, but $VOXANGLE_KEY holds a key: unset that variable" in refused(
        StoreKeyError, "voiceprints", "rotate"
    )
    monkeypatch.delenv("VOXANGLE_KEY")  # as it says
    key_id = told("voiceprints", "rotate")["key_id"]
    assert f"is encrypted with the key {key_id}; put it into $VOXANGLE_KEY" in refused(
        StoreKeyError, "voiceprints", "show", "ada"
    )
    monkeypatch.setenv("VOXANGLE_KEY", key)
    out = tmp_path / "all.jsonl"
    assert told("voiceprints", "export", out)["sealed"] is True
    assert "s0u0.wav" not in out.read_text()
    there = ["--store", tmp_path / "there.sqlite"]
    assert told("voiceprints", "import", out, *there)["prints"] == 2
    assert told("voiceprints", "show", "ada", *there) == told("voiceprints", "show", "ada")
    monkeypatch.setenv("VOXANGLE_KEY", "not a key")
    assert "44 characters" in refused(StoreKeyError, "voiceprints", "list")
    monkeypatch.setenv("VOXANGLE_KEY", run("voiceprints", "new-key").output.strip())
    assert "and $VOXANGLE_KEY is the key" in refused(StoreKeyError, "voiceprints", "list")
    assert f"is sealed with the key {key_id}" in refused(StoreKeyError, "voiceprints", "import", out, *there)
    monkeypatch.setenv("VOXANGLE_KEY", key)
    assert told("voiceprints", "rotate", "--decrypt")["key_id"] is None


def test_what_is_always_recorded_needs_a_store_that_can_be_written(
    shut: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    nothing = tmp_path / "nothing"  # neither a model nor a recording: the store is looked at before them
    given = ["--store", shut]
    for words, what in (
        (("identify", nothing, "--model", nothing), "an identification"),
        (("verify", nothing, "--as", "ada", "--model", nothing), "a verification"),
        (("voiceprints", "export", nothing), "an export"),
    ):
        with unprivileged():
            message = refused(StorageError, *words, *given)
        assert message == (
            f"{shut}: cannot be written; see to its permissions and those of its folder ({what} is always recorded "
            "there, in the audit trail)"
        )
    with unprivileged():
        assert [one["name"] for one in told("voiceprints", "list", *given)] == ["ada"]
    assert not nothing.exists()


def test_a_full_disk_behind_the_output_is_told() -> None:
    words = [sys.executable, "-c", "from voxangle.cli import main; main()", "voiceprints", "new-key"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: No space left on device; free some space and run again\n",
    )


def test_what_is_asked_wrongly_is_told(people: Path, tmp_path: Path) -> None:
    own = people / "s0u2.wav"
    assert "--as" in refused(VoxangleError, "verify", own)
    assert "--as" in refused(VoxangleError, "verify", own, own, "--as", "ada")
    assert "nobody is enrolled as 'eve'" in refused(VoxangleError, "verify", own, "--as", "eve")
    nowhere = tmp_path / "nowhere.sqlite"
    assert "no voiceprints here yet" in refused(StorageError, "voiceprints", "list", "--store", nowhere)
    assert not nowhere.exists()
    assert "'ada' is enrolled already" in refused(VoxangleError, "enrol", "ada", own)
