"""On a Ray cluster the rows are those of one process, though a worker is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voxangle.runtime import OnnxEmbedder
from voxangle.runtime.archive import read_embeddings
from voxangle.runtime.parts import PartFolder
from voxangle.runtime.ray_cluster import on_ray

pytest.importorskip("ray", reason="needs the ray extra")

# Ray warns and logs as it likes, so it has a process of its own. The model needs no torch, which takes each of Ray's
# processes seconds to import; what is defined here travels by value.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from voxangle.runtime import BaseEmbedder, ray_cluster
from voxangle.runtime.corpus import embed_corpus, here
from voxangle.runtime.recording_list import RecordingList
from voxangle.runtime.windows import Windows

root, out, files = json.loads(sys.argv[1])
out = Path(out)

class Card:
    name, thresholds, calibration = "sums", (), None

class Sums(BaseEmbedder):
    card, dimension, scale = Card(), 3, 1.0
    def save(self, folder):
        (Path(folder) / "scale").write_text("3.0")
    @classmethod
    def load(cls, folder):
        model = cls()
        model.scale = float((Path(folder) / "scale").read_text())
        return model
    def _embed_padded(self, waveforms, samples):
        sums = [waveforms.sum(1), np.square(waveforms).sum(1), samples]
        return np.float32(self.scale * np.stack(sums, 1) / samples[:, None])

class Mortal(ray_cluster._Copy):
    "The first that comes to the third block is killed as the kernel kills: without a word."
    def __call__(self, block):
        once = out / "killed"
        (out / f"pid {os.getpid()}").touch()
        if 4 in block["first"].to_pylist() and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(block)

ray_cluster._Copy = Mortal
embedder = Sums()
embedder.scale = 3.0
embedder.windows = Windows(seconds=1.0)
recordings = RecordingList.of_files(files, root)
embed_corpus(embedder, recordings, out / "here", here(embedder))
errors = []
engine = ray_cluster.on_ray(embedder, models=2, workers=1, block=2)
written = embed_corpus(embedder, recordings, out / "ray", engine, on_error=errors.append)
print(json.dumps([list(written), [str(error) for error in errors]]))
"""


def test_a_killed_worker_changes_nothing(tmp_path: Path, voices: Path) -> None:
    names = sorted(str(file.relative_to(voices)) for file in voices.rglob("*.wav"))[:10]
    files = {name: name for name in [*names[:3], "missing.wav", *names[3:]]}
    words = json.dumps([str(voices), str(tmp_path), files])
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=200)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    assert (tmp_path / "killed").exists()
    assert len(list(tmp_path.glob("pid *"))) == 3
    assert err == ""
    *of_the_killed, said = out.splitlines()
    assert len(of_the_killed) < 9
    assert all("(raylet)" in line for line in of_the_killed)
    assert json.loads(said) == [[0, 10, 1], [f"{voices / 'missing.wav'}: no such file"]]
    (expected,), (found,) = (list(PartFolder.open(tmp_path / name).tables()) for name in ("here", "ray"))
    for column in ("key", "seconds", "windows", "error"):
        assert found[column].to_pylist() == expected[column].to_pylist()
    assert set(found["windows"].to_pylist()) == {0, 2}
    for ours, theirs in zip(expected["embedding"].to_pylist(), found["embedding"].to_pylist(), strict=True):
        assert theirs == (None if ours is None else pytest.approx(ours, rel=1e-5))


def test_an_exported_model_is_sent_too(exported: Path, voices: Path, tmp_path: Path) -> None:
    files = sorted(voices.glob("s[01]/*.wav"))
    command = [sys.executable, "-m", "voxangle", "embed", *files, "--out", tmp_path / "parts", "--ray"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [*map(str, command), "--model", str(exported / "model.onnx")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    keys, vectors = read_embeddings(tmp_path / "parts")
    assert keys == [str(file) for file in files]
    expected = OnnxEmbedder.load(exported).embed_files(files).embeddings
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_model_that_cannot_be_saved_cannot_be_sent(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(OnnxEmbedder, "save")
    with pytest.raises(TypeError, match="OnnxEmbedder cannot be sent: it has no save and load"):
        on_ray(OnnxEmbedder.load(exported))
