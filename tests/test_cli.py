"""The command line: what a person types, what they get, and what they are told when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora import miniature
from voxangle import cli
from voxangle.recipe import Recipe
from voxangle.training.loop import train

pytestmark = pytest.mark.usefixtures("made_up_voices_are_speech")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, voices: Path) -> Path:
    """The folder of a finished tiny run."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        f"""
data: {{corpus: folder, root: {voices}, split: all, validation_speakers: 2}}
batch: {{speakers: 4, recordings: 2, seconds: 0.6}}
augment: {{views: 1}}
encoder: {{architecture: ecapa_tdnn, channels: 16, aggregation: 24, squeeze: 8, attention: 8, dimension: 12}}
schedule: {{steps: 10}}
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXANGLE_CACHE", str(folder / "cache"))
        train(Recipe.read(recipe), folder / "run")
    return folder / "run"


class Terminal:
    """Runs ``voxangle`` in this process and keeps what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["voxangle", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err


@pytest.fixture
def voxangle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def trial_list(path: Path, voices: Path) -> Path:
    keys = sorted(str(file.relative_to(voices)) for file in voices.rglob("*.wav"))
    lines = [
        f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}\n" for i, a in enumerate(keys) for b in keys[:i]
    ]
    path.write_text("".join(lines))
    return path


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys; sys.argv = ['voxangle', '--help']\n"
        "import voxangle.cli\n"
        "try: voxangle.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'pyarrow', 'scipy', 'pydantic', 'soundfile'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert "verify" in done.stdout


def test_version(voxangle: Terminal) -> None:
    code, out, _ = voxangle("--version")
    assert code == 0
    assert out.startswith("voxangle 0.")


def test_corpora_are_listed(voxangle: Terminal) -> None:
    code, out, _ = voxangle("corpora", "list")
    assert code == 0
    assert all(name in out for name in ("debian-voices", "mini-librispeech", "folder", "table"))


def test_a_corpus_is_prepared_and_what_cannot_be_used_is_named(
    voxangle: Terminal, tmp_path: Path, voices: Path
) -> None:
    for file in voices.glob("s[01]/*.wav"):
        target = tmp_path / "mine" / file.relative_to(voices)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (tmp_path / "mine" / "s0" / "broken.wav").write_text("this is not audio")
    code, out, _ = voxangle("corpora", "prepare", "folder", "--root", tmp_path / "mine")
    assert code == 0
    assert "8 utterances, 2 speakers" in out
    assert "left out: 1" in out
    assert "s0/broken.wav" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corpora", "get", "debian-voice"], "did you mean 'debian-voices'"),
        (["corpora", "get", "folder"], "--root"),
        (["corpora", "prepare", "folder", "--root", "/no/such/place"], "/no/such/place"),
        (["train", "/no/such.yaml"], "no such recipe"),
        (["evaluate", "--trials", "x"], "no such trial list"),
        (["evaluate", "--model", "/no/run", "--trials", "x"], "/no/run"),
        (["verify", "a.wav", "b.wav", "--model", "/no/run"], "/no/run"),
        (["embed"], "--list"),
        (["demo", "--corpus", "folder"], "held-out voices"),
        (["demo", "--corpus", "nothing"], "unknown corpus 'nothing'"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(voxangle: Terminal, words: list[str], message: str) -> None:
    code, _, err = voxangle(*words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err


def test_an_empty_folder_and_a_single_speaker(
    voxangle: Terminal, tmp_path: Path, recipe_file: Path, voices: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = voxangle("train", recipe_file, "--set", f"data.root={tmp_path / 'empty'}")
    assert code == 2
    assert "empty" in err
    alone = tmp_path / "alone" / "me"
    alone.mkdir(parents=True)
    for file in (voices / "s0").glob("*.wav"):
        (alone / file.name).write_bytes(file.read_bytes())
    code, _, err = voxangle(
        "train", recipe_file, "--set", f"data.root={alone.parent}", "--set", "data.validation_speakers=0"
    )
    assert code == 2
    assert "1 speaker(s)" in err


def test_a_typo_in_a_recipe_names_the_nearest_key(voxangle: Terminal, recipe_file: Path) -> None:
    code, _, err = voxangle("train", recipe_file, "--set", "optimizer.ler=0.1")
    assert code == 2
    assert "did you mean 'lr'" in err


def test_a_speaker_with_one_recording_is_said_and_trained_on(
    voxangle: Terminal, tmp_path: Path, recipe_file: Path, voices: Path
) -> None:
    for file in [*voices.glob("s[0-4]/*.wav"), voices / "s5" / "u0.wav"]:
        target = tmp_path / "mine" / file.relative_to(voices)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    out = tmp_path / "run"
    words = [
        "train",
        recipe_file,
        "--out",
        out,
        "--set",
        f"data.root={tmp_path / 'mine'}",
        "--set",
        "schedule.steps=2",
    ]
    code, said, _ = voxangle(*words)
    assert code == 0
    assert "1 of 4 speakers have one recording" in said
    code, _, err = voxangle(*words, "--fresh", "--set", "data.minimum_recordings=2")
    assert code == 2  # 3 speakers are left, a batch wants 4
    assert "3" in err


def test_evaluation_gives_a_table_json_and_plots(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    trials = trial_list(tmp_path / "pairs.txt", voices)
    code, out, _ = voxangle(
        "evaluate", "--model", run, "--trials", trials, "--root", voices, "--out", tmp_path / "e"
    )
    assert code == 0
    assert "pairs" in out
    result = json.loads((tmp_path / "e" / "pairs.json").read_text())
    assert result["counts"]["trials"] == 276
    assert result["counts"]["targets"] == 36
    assert result["counts"]["speakers"] == 6
    assert result["eer"]["low"] <= result["eer"]["value"] <= result["eer"]["high"]
    assert result["model"]["sha256"]
    for plot in ("det.png", "pairs-scores.png"):
        assert (tmp_path / "e" / plot).read_bytes().startswith(b"\x89PNG")
    assert "<audio" in (tmp_path / "e" / "report.html").read_text()
    words = ["evaluate", "--model", run, "--trials", trials, "--root", voices, "--out", tmp_path / "e"]
    assert voxangle(*words, "--without-audio", "--replicates", 100)[0] == 0
    assert "<audio" not in (tmp_path / "e" / "report.html").read_text()


def test_a_corpus_is_scored_by_its_lists_whichever_splits_they_name(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    keys = sorted(str(path.relative_to(voices)) for path in voices.glob("*/*.wav"))
    rows = [
        f"{voices / key},{key},{key[:2]},{'train' if key < 's3' else 'eval'},{'fm'[int(key[1]) % 2]}"
        for key in keys
    ]
    (tmp_path / "utterances.csv").write_text("path,utterance,speaker,split,gender\n" + "\n".join(rows) + "\n")
    (tmp_path / "trials").mkdir()
    trial_list(tmp_path / "trials" / "both.txt", voices)
    (tmp_path / "trials" / "late.txt").write_text("1 s4/u0.wav s4/u1.wav\n0 s4/u0.wav s5/u0.wav\n")

    settings = ["evaluate", "--model", run, "--corpus", "table", "--root", tmp_path, "--out", tmp_path / "e"]
    code, out, _ = voxangle(*settings, "--conditions")
    assert code == 0
    assert {path.name for path in (tmp_path / "e").glob("*.json")} == {"both.json", "late.json"}
    assert "cross gender" in out
    both = json.loads((tmp_path / "e" / "both.json").read_text())
    assert both["counts"]["utterances"] == 24
    assert {"same gender", "cross gender"} <= {condition["name"] for condition in both["conditions"]}

    code, out, _ = voxangle(*settings, "--list", "late")
    assert code == 0
    assert "both" not in out
    code, _, err = voxangle(*settings, "--list", "latr")
    assert code == 2
    assert "did you mean 'late'" in err


def test_an_enrolment_of_several_recordings(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    (tmp_path / "list.txt").write_text("anna s0/u3.wav 1\nanna s1/u0.wav 0\n")
    (tmp_path / "enrol").write_text("anna s0/u0.wav s0/u1.wav s0/u2.wav\n")
    settings = ["evaluate", "--model", run, "--trials", tmp_path / "list.txt", "--root", voices]
    code, _, _ = voxangle(*settings, "--models", tmp_path / "enrol", "--out", tmp_path / "e")
    assert code == 0
    result = json.loads((tmp_path / "e" / "list.json").read_text())
    assert result["protocol"]["enrolment"] == "average"
    assert result["counts"]["models"] == 1
    code, _, err = voxangle(*settings)
    assert code == 2
    assert "anna" in err


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 s0/u0.wav s0/u1.wav\n0 s0/u0.wav s9/u1.wav\n", "s9/u1.wav"),
        ("1 s0/u0.wav s0/u1.wav\n", "no non-target"),
        ("0 s0/u0.wav s1/u1.wav\n", "no target"),
        ("1 s0/u0.wav\n", "line 1"),
        ("", "empty"),
    ],
)
def test_a_trial_list_that_cannot_be_scored_is_refused(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path, lines: str, message: str
) -> None:
    (tmp_path / "bad.txt").write_text(lines)
    code, _, err = voxangle("evaluate", "--model", run, "--trials", tmp_path / "bad.txt", "--root", voices)
    assert code == 2
    assert "bad" in err
    assert message in err


def test_the_mean_of_a_folder_of_embeddings_is_subtracted(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = sorted(str(path.relative_to(voices)) for path in voices.glob("*/*.wav"))
    (tmp_path / "early").write_text("\n".join(key for key in keys if key < "s3"))
    words = ["embed", "--model", run, "--list", tmp_path / "early", "--root", voices]
    for out in ("parts", "mean.npz"):
        assert voxangle(*words, "--out", out)[0] == 0
    (tmp_path / "late.txt").write_text(
        "1 s4/u0.wav s4/u1.wav\n0 s4/u0.wav s5/u0.wav\n0 s3/u1.wav s5/u2.wav\n"
    )
    (tmp_path / "own.txt").write_text("1 s0/u0.wav s0/u1.wav\n0 s0/u0.wav s1/u0.wav\n")
    words = ["evaluate", "--model", run, "--root", voices, "--trials"]
    found = {}
    for source in ("parts", "mean.npz"):
        code, _, _ = voxangle(*words, "late.txt", "--subtract-mean", source, "--out", tmp_path / source[0])
        assert code == 0
        found[source] = json.loads((tmp_path / source[0] / "late.json").read_text())
    of_parts, of_archive = found.values()
    assert of_parts["protocol"]["mean_subtraction"]["file"] == "parts"
    assert of_parts["protocol"]["mean_subtraction"]["utterances"] == 12
    assert of_parts["eer"]["threshold"] == pytest.approx(of_archive["eer"]["threshold"])
    code, _, err = voxangle(*words, "own.txt", "--subtract-mean", "parts")
    assert code == 2
    assert "own: 3 of its 3 utterances, such as 's0/u0.wav', are also among those" in err
    code, _, err = voxangle(*words, "late.txt", "--subtract-mean", tmp_path)
    assert code == 2
    assert "no folder of `voxangle embed` (it has no index.json)" in err
    code, _, err = voxangle(*words, "late.txt", "--subtract-mean", "part")
    assert code == 2
    assert "--subtract-mean part: a split is one of a --corpus; beside --trials alone give the .yaml" in err


def test_what_must_be_said_beside_the_figures_is_said(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    trials = trial_list(tmp_path / "pairs.txt", voices)
    _, out, _ = voxangle(
        "evaluate", "--model", run, "--trials", trials, "--root", voices, "--out", tmp_path / "e"
    )
    assert "note: Only 6 speakers" in out


def test_two_lists_of_one_name_are_refused(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    one, other = trial_list(tmp_path / "a.txt", voices), tmp_path / "b" / "a.txt"
    other.parent.mkdir()
    other.write_bytes(one.read_bytes())
    code, _, err = voxangle("evaluate", "--model", run, "-t", one, "-t", other, "--root", voices)
    assert code == 2
    assert "two lists are called 'a'" in err


def test_surroundings_that_fail_are_told_without_a_traceback(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    wav = voices / "s0" / "u0.wav"
    code, _, err = voxangle("embed", "--model", run, wav, "--out", "/proc/nowhere/e.npz")
    assert code == 2
    assert "cannot be written" in err
    (tmp_path / "list").write_bytes(b"a\0b\n")
    code, _, err = voxangle("embed", "--model", run, "--list", tmp_path / "list", "--out", tmp_path / "e.npz")
    assert code == 2
    assert "NUL" in err
    code, _, err = voxangle("verify", wav, wav, "--model", run, "--threshold", "nan")
    assert code == 2
    assert "nan" in err


def test_embeddings_of_a_list_are_keyed_by_its_lines(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    lines = ["s0/u0.wav", "s3/u2.wav", "s0/u0.wav"]
    (tmp_path / "list").write_text("\n".join(lines) + "\n\n")
    out = tmp_path / "e.npz"
    code, said, _ = voxangle(
        "embed", "--model", run, "--list", tmp_path / "list", "--root", voices, "--out", out
    )
    assert code == 0
    assert "2 embeddings of 12 dimensions" in said
    with np.load(out) as archive:
        assert sorted(archive.files) == sorted(set(lines))
        assert archive["s0/u0.wav"].shape == (12,)
        assert archive["s0/u0.wav"].dtype == np.float32
        listed = archive["s3/u2.wav"]
    code, _, _ = voxangle("embed", "--model", run, voices / "s3", voices / "s0" / "u0.wav", "--out", out)
    assert code == 0
    with np.load(out) as archive:
        assert len(archive.files) == 5
        np.testing.assert_allclose(archive[str(voices / "s3" / "u2.wav")], listed, atol=1e-4)


def test_unusable_recordings_are_left_out_and_counted(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (tmp_path / "list").write_text("s0/u0.wav\nmissing.wav\n" + str(tmp_path / "silence.wav"))
    out = tmp_path / "e.npz"
    code, said, err = voxangle(
        "embed", "--model", run, "--list", tmp_path / "list", "--root", voices, "--out", out
    )
    assert code == 0
    assert "2 recordings were left out" in said
    assert "missing.wav" in err
    assert "silence.wav" in err
    out.unlink()
    code, _, err = voxangle("embed", "--model", run, tmp_path / "silence.wav", "--out", out)
    assert code == 2
    assert not out.exists()


def test_verify_gives_score_decision_and_the_threshold_s_origin(
    voxangle: Terminal, monkeypatch: pytest.MonkeyPatch, run: Path, voices: Path
) -> None:
    same = [voices / "s0" / "u0.wav", voices / "s0" / "u0.wav"]
    code, out, _ = voxangle("verify", *same, "--model", run)
    assert code == 0
    assert "the same voice" in out
    assert "validation trials" in out
    monkeypatch.setenv("VOXANGLE_MODEL", str(run))
    code, out, _ = voxangle("verify", *same, "--json")
    answer = json.loads(out)
    assert answer["score"] == pytest.approx(1, abs=1e-5)
    assert answer["same_voice"] is True
    code, out, _ = voxangle("verify", *same, "--threshold", "1.5")
    assert "different voices" in out
    assert "given by you" in out
    code, _, err = voxangle("verify", *same, "--threshold", "far-7%")
    assert code == 2
    assert "threshold far-7%: expected a number or one of the model's: eer" in err


def test_verify_says_that_a_recording_lacks_frequencies(
    voxangle: Terminal, run: Path, voices: Path, tmp_path: Path
) -> None:
    wide, narrow = voices / "s0" / "u0.wav", tmp_path / "telephone.wav"
    samples, rate = soundfile.read(wide)
    soundfile.write(narrow, samples[::2], rate // 2)
    words = ["verify", wide, narrow, "--model", run]
    (note,) = json.loads(voxangle(*words, "--json")[1])["notes"]
    assert note.startswith(f"{narrow} is sampled at 8000 Hz")
    assert "telephone.wav is sampled at 8000 Hz" in voxangle(*words)[1]
    assert json.loads(voxangle("verify", wide, wide, "--model", run, "--json")[1])["notes"] == []


def test_verify_cuts_as_it_is_asked_to(voxangle: Terminal, run: Path, voices: Path) -> None:
    words = ["verify", voices / "s0" / "u0.wav", voices / "s0" / "u1.wav", "--model", run, "--json"]
    scores = {
        options: json.loads(voxangle(*words, *options)[1])["score"]
        for options in ((), ("--window", 0), ("--window", 1), ("--window", 1, "--overlap", 0.5))
    }
    whole, same, cut, overlapping = scores.values()
    assert whole == same
    assert len({whole, cut, overlapping}) == 3
    code, _, err = voxangle(*words, "--window", "0.2")
    assert code == 2
    assert "--window 0.2: give 1 s or more" in err


@pytest.mark.parametrize("content", [b"", b"not audio at all", None])
def test_verify_refuses_what_is_not_a_recording(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path, content: bytes | None
) -> None:
    bad = tmp_path / "bad.wav"
    if content is not None:
        bad.write_bytes(content)
    words = ["verify", voices / "s0" / "u0.wav", bad, "--model", run]
    code, _, err = voxangle(*words)
    assert code == 2
    assert err.startswith(f"error: {bad}: ")
    code, out, told = voxangle(*words, "--json")
    assert (code, out) == (2, "")
    # One line for a program, as its answer would have been.
    assert json.loads(told) == {
        "error": {"type": "AudioError", "message": err.removeprefix("error: ").removesuffix("\n")}
    }


def test_surroundings_that_fail_are_told_in_json_too(voxangle: Terminal, tmp_path: Path) -> None:
    shut = tmp_path / ("x" * 300)  # a name that no file system takes
    code, out, err = voxangle("voiceprints", "list", "--store", shut, "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["type"] == "OSError"


def test_the_model_of_another_architecture_is_refused(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in (run / "model").iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    card = model / "model.json"
    card.write_text(card.read_text().replace('"channels": 16', '"channels": 32'))
    files = [voices / "s0" / "u0.wav", voices / "s0" / "u1.wav"]
    code, _, err = voxangle("verify", *files, "--model", model)
    assert code == 2
    assert "ecapa_tdnn" in err or "architecture" in err


def test_a_list_with_a_recording_that_cannot_be_used_is_left_out_and_named(
    voxangle: Terminal, tmp_path: Path, run: Path, voices: Path
) -> None:
    keys = sorted(str(path.relative_to(voices)) for path in voices.glob("*/*.wav"))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    places = {key: voices / key for key in keys} | {keys[0]: tmp_path / "broken.wav"}
    rows = [f"{places[key]},{key},{key[:2]},eval" for key in keys]
    (tmp_path / "utterances.csv").write_text("path,utterance,speaker,split\n" + "\n".join(rows) + "\n")
    (tmp_path / "trials").mkdir()
    trial_list(tmp_path / "trials" / "all.txt", voices)
    (tmp_path / "trials" / "late.txt").write_text("1 s4/u0.wav s4/u1.wav\n0 s4/u0.wav s5/u0.wav\n")
    words = ["evaluate", "--model", run, "--corpus", "table", "--root", tmp_path, "--out", tmp_path / "e"]
    code, out, _ = voxangle(*words)
    assert code == 0
    assert [path.name for path in (tmp_path / "e").glob("*.json")] == ["late.json"]
    assert (
        f"the list all is left out, because 1 of the recordings it names cannot be used, such as {keys[0]}"
        in out
    )
    code, _, err = voxangle(*words, "--list", "all")
    assert code == 2
    assert (
        f"the list all is left out, because 1 of the recordings it names cannot be used, such as {keys[0]}"
        in err
    )


@pytest.fixture
def two_lists(tmp_path: Path, voices: Path) -> Path:
    """Kaldi folders: ``whole`` with a list, and ``cut``, whose list names a recording that ``wav.scp`` lacks."""
    data = tmp_path / "data"
    for split, (one, other) in {"whole": ("s0", "s1"), "cut": ("s2", "s3")}.items():
        keys = [
            (f"{speaker}-u{u}", speaker, voices / speaker / f"u{u}.wav")
            for speaker in (one, other)
            for u in (0, 1)
        ]
        (data / split).mkdir(parents=True)
        (data / split / "wav.scp").write_text("".join(f"{key} {path}\n" for key, _, path in keys))
        (data / split / "utt2spk").write_text("".join(f"{key} {speaker}\n" for key, speaker, _ in keys))
        (data / split / "trials").write_text(
            f"{one}-u0 {one}-u1 target\n{other}-u0 {other}-u1 target\n{one}-u0 {other}-u1 nontarget\n"
        )
    scp = data / "cut" / "wav.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    return data


def test_a_list_that_was_left_out_is_said_so_with_the_reason_and_nothing_else(
    voxangle: Terminal, tmp_path: Path, run: Path, two_lists: Path
) -> None:
    words = ["evaluate", "--model", run, "--corpus", "kaldi", "--root", two_lists, "--out", tmp_path / "e"]
    code, _, err = voxangle(*words, "--list", "cut")
    assert code == 2
    assert "the list cut was left out: " in err
    assert (
        "cut/trials: 1 of its 4 utterances are not on disk, such as s2-u0; 1 of them stand in utt2spk" in err
    )
    assert "--trials" not in err
    code, out, _ = voxangle(*words, "--list", "whole")
    assert code == 0
    assert "the list cut" not in out
    assert [path.name for path in (tmp_path / "e").glob("*.json")] == ["whole.json"]
    code, out, _ = voxangle(*words)
    assert code == 0
    assert "note: the list cut was left out: " in out


def test_where_all_lists_were_left_out_the_reasons_are_said(
    voxangle: Terminal, run: Path, two_lists: Path
) -> None:
    (two_lists / "whole" / "trials").write_text("s0-u0 s0-u1")
    code, _, err = voxangle("evaluate", "--model", run, "--corpus", "kaldi", "--root", two_lists)
    assert code == 2
    assert "has no trial lists of its own that can be used" in err
    assert "the list whole was left out: " in err
    assert "whole/trials, line 1: expected" in err


def test_check_and_prepare_go_on_past_a_list_that_is_left_out(voxangle: Terminal, two_lists: Path) -> None:
    code, out, _ = voxangle("corpora", "check", "kaldi", "--root", two_lists)
    assert code == 1
    assert "list whole: 3 trials" in out
    assert "list cut: left out: " in out
    assert "note: cut: 1 utterance(s) in utt2spk have no recording in wav.scp (s2-u0); left out." in out
    code, out, _ = voxangle("corpora", "prepare", "kaldi", "--root", two_lists)
    assert code == 0
    assert "whole: 4 utterances" in out
    assert "cut: 3 utterances" in out
    assert "note: the list cut was left out: " in out


def test_a_note_on_one_list_stands_beside_that_list_s_figures_only(
    voxangle: Terminal, tmp_path: Path, run: Path
) -> None:
    keys = miniature.voxceleb(tmp_path / "wav", miniature.VOXCELEB1["test"])
    for file, pairs in (("veri_test", miniature.pairs(keys)), ("veri_test2", miniature.pairs(keys)[1:])):
        miniature.write_lines(tmp_path / f"{file}.txt", pairs)
    miniature.write_lines(tmp_path / "list_test_all.txt", [(0, keys[0], "id10001/1zcIwhmdeo4/00001.wav")])
    words = ["evaluate", "--model", run, "--corpus", "voxceleb1", "--root", tmp_path, "--out", tmp_path / "e"]
    code, out, _ = voxangle(*words, "--list", "vox1-O-cleaned")
    assert code == 0
    assert "note: voxceleb1: vox1-O-cleaned (veri_test2.txt) is cut off, or filtered: it has 27 trials" in out
    assert "veri_test.txt" not in out
    assert "vox1-E" not in out
    code, out, _ = voxangle(*words)
    assert code == 0
    assert "note: vox1-O: voxceleb1: vox1-O (veri_test.txt) is cut off" in out
    assert "note: the list vox1-E was left out: list_test_all.txt: 1 of its 2 utterances" in out
    for name, others in {"vox1-O": "veri_test2", "vox1-O-cleaned": "veri_test.txt"}.items():
        notes = json.loads((tmp_path / "e" / f"{name}.json").read_text())["notes"]
        assert f"{name} (veri_test" in notes[0]
        assert not any(others in note for note in notes)
