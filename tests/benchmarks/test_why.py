"""Why the objective does what it does: each figure against what it must be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from benchmarks.why.__main__ import main
from benchmarks.why.angles import Pairs
from benchmarks.why.belief import detection, least_believed
from benchmarks.why.course import read_course
from benchmarks.why.gradient import measure_gradient, pair_forces
from benchmarks.why.learnt import Batch, Learnt, name_runs, variant_of
from benchmarks.why.style import running_mean
from voxangle.data import Manifest, Utterance
from voxangle.errors import CheckpointError
from voxangle.objectives import AttentionConfig, supervised_contrastive_loss
from voxangle.objectives.contrasts import SupervisedContrastiveConfig
from voxangle.recipe import Recipe
from voxangle.training.loop import train

# Course


def log(folder: Path, *rows: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 9, "lo')
    return folder


def step(number: int, alpha: float, cosine: float | None, *norms: float) -> dict[str, object]:
    names = ("classification", "contrastive")[: len(norms)]
    return {
        "step": number,
        "losses": dict.fromkeys(names, 1.0),
        "alpha": alpha,
        "gradient_norms": norms,
        "gradient_cosine": cosine,
    }


def test_the_course_is_summed_up_where_both_losses_are_on(tmp_path: Path) -> None:
    course = read_course(
        log(
            tmp_path,
            step(1, 1.0, None, 9.0),
            step(2, 0.4, -0.2, 6.0, 2.0),
            {"step": 2, "validation_eer": 0.1},
            step(3, 0.6, 0.4, 5.0, 1.0),
        )
    )
    assert course["steps"] == [1, 2, 3]
    assert course["norms"] == {"classification": [9.0, 6.0, 5.0], "contrastive": [None, 2.0, 1.0]}
    both = course["both"]
    assert both["lines"] == 2
    assert both["alpha"]["mean"] == pytest.approx(0.5)
    assert both["cosine"]["mean"] == pytest.approx(0.1)
    assert both["cosine"]["below_0"] == 0.5
    assert both["norm_ratio_median"] == 4.0


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"log\.jsonl: cannot be read.*name the folder of a run"):
        read_course(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no step was logged yet"):
        read_course(log(tmp_path))


def test_a_running_mean_keeps_a_line_and_takes_no_more_than_it_has() -> None:
    values = np.arange(10.0)
    assert running_mean(values, 3)[1:-1].tolist() == values[1:-1].tolist()
    assert running_mean(values, 3)[[0, -1]].tolist() == [0.5, 8.5]
    assert running_mean(values, 1).tolist() == values.tolist()


def test_runs_are_called_by_where_they_lie_and_variants_without_their_seeds() -> None:
    names = name_runs([Path("a/x/seed-1"), Path("a/x/seed-2"), Path("a/y")])
    assert names == ["x/seed-1", "x/seed-2", "y"]
    assert [variant_of(name) for name in names] == ["x", "x", "y"]
    assert name_runs([Path("a/x/seed-1")]) == ["x/seed-1"]


# Belief


def scored(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    wrong = random.random(300) < 0.2
    scores = np.round(random.normal(size=300) + wrong, 1)  # with ties
    return scores, wrong, random.integers(0, 30, 300)


def test_the_area_is_scikit_learns_with_ties_and_the_curve_holds_it() -> None:
    scores, wrong, speakers = scored()
    found = detection(scores, wrong, speakers)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(wrong, scores), abs=1e-12)
    assert 0.5 < found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"] < 1
    x, y = np.array(found["roc"]["x"])[::-1], np.array(found["roc"]["y"])[::-1]
    assert np.trapezoid(y, x) == pytest.approx(found["auc"]["value"], abs=1e-12)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_recordings_of_few_speakers_tell_less_than_as_many_of_many() -> None:
    scores, wrong, _ = scored()
    few, many = (
        detection(scores, wrong, speakers)["auc"] for speakers in (np.arange(300) // 50, np.arange(300))
    )
    assert few["value"] == many["value"]
    copies = detection(np.tile(scores, 4), np.tile(wrong, 4), np.tile(np.arange(300), 4))["auc"]
    assert copies["high"] - copies["low"] == pytest.approx(many["high"] - many["low"])


def test_the_highest_scores_are_counted_and_one_kind_alone_tells_nothing() -> None:
    wrong = np.array([True, True, False, False, False])
    assert detection(np.array([5.0, 1.0, 4.0, 0.0, 0.0]), wrong, np.arange(5))["found_among_as_many"] == 0.5
    assert detection(np.zeros(5), np.zeros(5, bool), np.arange(5)) == {}


def row(
    key: str, standing: float, rather: str | None = None, doubt: float | None = None
) -> dict[str, object]:
    return {
        "utterance": key,
        "speaker": key[0],
        "standing": standing,
        "belief": standing / 2,
        "rather": rather,
        "doubt": doubt,
    }


def test_the_least_believed_are_those_of_the_runs_that_learnt_them() -> None:
    runs = {
        "one": {"rightly_labelled": [row("a/1", 0.1, "b", 0.2), row("a/2", 0.3), row("c/1", 0.0)]},
        "two": {"rightly_labelled": [row("a/1", 0.3, "b", 0.4), row("a/2", 0.5)]},  # there c/1 was swapped
    }
    table = least_believed(runs)
    assert [one["utterance"] for one in table] == ["c/1", "a/1", "a/2"]
    assert table[0]["of"] == 1
    assert table[0]["rather"] is table[0]["doubt"] is None
    assert table[1] == {
        "utterance": "a/1",
        "speaker": "a",
        "of": 2,
        "standing": pytest.approx(0.2),
        "belief": pytest.approx(0.1),
        "given_away": 2,
        "rather": "b",
        "doubt": pytest.approx(0.3),
    }
    assert [one["utterance"] for one in least_believed(runs, "a/")] == ["a/1", "a/2"]


# Angles


def people(counts: list[int], seed: int = 0) -> tuple[np.ndarray, Manifest]:
    random = np.random.default_rng(seed)
    rows = [
        Utterance(
            f"{s}/{u}", f"s{s}", f"{s}/{u}.wav", language=("en", "ar", "")[s % 3], channel=("a", "b")[s % 2]
        )
        for s, count in enumerate(counts)
        for u in range(count)
    ]
    means = random.normal(size=(len(counts), 6))
    own = np.repeat(np.arange(len(counts)), counts)
    return means[own] + 0.5 * random.normal(size=(len(rows), 6)), Manifest.of(rows, Path("/audio"))


def by_pairs(embeddings: np.ndarray, manifest: Manifest) -> dict[str, list[float]]:
    """The same, pair by pair."""
    found: dict[str, list[float]] = {}
    rows = list(manifest)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            a, b = embeddings[i], embeddings[j]
            angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
            who = "same speaker" if one.speaker == other.speaker else "two speakers"
            names = [who]
            if one.language and other.language:
                alike = one.language == other.language
                names.append(f"{who}, same language" if alike else f"{who}, two languages")
                if alike and one.channel == other.channel and who == "two speakers":
                    names.append(f"{who}, same language and channel")
            for name in names:
                found.setdefault(name, []).append(angle)
    return found


def test_angles_are_those_of_all_pairs_of_each_kind() -> None:
    embeddings, manifest = people([4, 3, 1, 2, 5, 2, 3, 3])
    pairs, expected = Pairs(embeddings, manifest), by_pairs(embeddings, manifest)
    assert pairs.counts == {name: len(expected[name]) for name in pairs.counts}
    assert pairs.counts.keys() == expected.keys()
    once = np.ones((1, pairs.speakers))
    for name, angles in expected.items():
        assert pairs.moments(name, once)[0] == pytest.approx([np.mean(angles), np.std(angles)])
        assert pairs.density(name) == pytest.approx(np.histogram(angles, np.arange(181))[0] / len(angles))
    own, others = (np.array(expected[name]) for name in ("same speaker", "two speakers"))
    overlap, apart = pairs.compared("two speakers", once)[0]
    densities = [np.histogram(angles, np.arange(181))[0] / len(angles) for angles in (own, others)]
    assert overlap == pytest.approx(np.minimum(*densities).sum())
    assert apart == pytest.approx((others.mean() - own.mean()) / np.sqrt((own.var() + others.var()) / 2))


def test_a_speaker_drawn_twice_is_two_people_and_one_left_out_is_nobody() -> None:
    embeddings, manifest = people([4, 3, 5, 2])
    pairs = Pairs(embeddings, manifest)
    angles = by_pairs(embeddings, manifest)
    rows = list(manifest)
    kinds = {"same speaker": [], "two speakers": []}
    weights = {"s0": 2, "s1": 1, "s2": 0, "s3": 3}
    order = {name: iter(angles[name]) for name in kinds}
    for i, one in enumerate(rows):
        for other in rows[:i]:
            who = "same speaker" if one.speaker == other.speaker else "two speakers"
            times = weights[one.speaker] * (1 if who == "same speaker" else weights[other.speaker])
            kinds[who] += [next(order[who])] * times
    drawn = np.array([[2.0, 1, 0, 3]])
    for name, expected in kinds.items():
        assert pairs.moments(name, drawn)[0] == pytest.approx([np.mean(expected), np.std(expected)])
    assert np.isnan(pairs.moments("two speakers", np.array([[4.0, 0, 0, 0]]))).all()


# Gradient


@pytest.mark.parametrize("dimension", [40, 5], ids=["more dimensions than samples", "fewer"])
def test_forces_of_pairs_add_up_to_the_gradient(dimension: int) -> None:
    torch.manual_seed(0)
    unit = functional.normalize(torch.randn(12, dimension, dtype=torch.float64), dim=1)
    labels = torch.arange(12) // 3

    def loss(z: torch.Tensor) -> torch.Tensor:
        return supervised_contrastive_loss(z, labels, temperature=0.2, margin=0.1)

    leaf = unit.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    forces = pair_forces(3 * unit, loss)
    cosine = unit @ unit.T
    towards = functional.normalize(unit[None] - cosine[:, :, None] * unit[:, None], dim=2)
    assert torch.allclose((forces[:, :, None] * towards).sum(dim=1), -gradient, atol=1e-4)
    assert torch.allclose(forces, forces.T, atol=1e-5)
    same = labels[:, None] == labels
    assert (forces[same & ~torch.eye(12, dtype=torch.bool)] > 0).all()
    assert (forces[~same] < 0).all()


def test_only_logits_of_all_pairs_quiet_samples_that_the_classifier_does_not_believe() -> None:
    torch.manual_seed(1)
    prototypes = torch.eye(16, 24)
    speakers = torch.arange(16).repeat_interleave(4)
    embeddings = prototypes[speakers] + 0.12 * torch.randn(64, 24)
    wrong = torch.arange(64) % 10 == 3
    labels = torch.where(wrong, (speakers + 5) % 16, speakers)
    config = SupervisedContrastiveConfig(temperature=0.1)
    run = SimpleNamespace(
        prototypes=prototypes,
        wrong=wrong.numpy(),
        attention=AttentionConfig(),
        step=7,
        objective=SimpleNamespace(
            classification=lambda z, labels, **_: functional.cross_entropy(
                9 * functional.normalize(z), labels
            )
        ),
        recipe=SimpleNamespace(
            seed=1,
            data=SimpleNamespace(swapped_labels=0.1),
            schedule=SimpleNamespace(steps=9, margin_from=0.1, margin_until=0.3),
            objective=SimpleNamespace(contrastive=config, attention=AttentionConfig()),
        ),
    )
    batch = Batch(embeddings, labels, speakers, wrong, torch.arange(64))
    found = measure_gradient(run, [batch, batch])
    assert found is not None
    share = {name: way["share"]["value"] for name, way in found["ways"].items()}
    assert found["samples"]["value"] == pytest.approx(7 / 64)
    assert share["no attention"] > 2 * found["samples"]["value"]
    assert share["log_weight, negatives, by max"] > 2 * found["samples"]["value"]
    assert share["logit, all, by max"] < share["no attention"] / 5
    forces = found["ways"]["no attention"]["forces"]
    assert sum(forces.values()) == pytest.approx(1)
    assert forces["pull of two voices"] > 0.2
    each = pair_forces(
        embeddings, lambda z: supervised_contrastive_loss(z, labels, temperature=0.1, margin=config.margin)
    ).abs()
    touched = torch.tensor([[bool(one or other) for other in wrong] for one in wrong])
    pushed = (labels[:, None] != labels) & (speakers[:, None] != speakers)
    expected = float(each[pushed & touched].sum() / each.sum())
    assert forces["push of two voices, a label wrong"] == pytest.approx(expected)
    assert (
        found["ways"]["logit, all, by max"]["forces"]["pull of two voices"] < forces["pull of two voices"] / 5
    )
    assert found["ways"]["no attention"]["strength"] == 1
    clean = run.__dict__ | {"wrong": np.zeros(64, bool)}
    assert measure_gradient(SimpleNamespace(**clean), [batch]) is None


# The whole


RECIPE = """
seed: 3
data: {{corpus: folder, root: {root}, validation_speakers: 2, validation_recordings: 3, swapped_labels: 0.25}}
batch: {{speakers: 4, recordings: 2, seconds: 0.6}}
augment: {{views: 2, kinds: {{reverb: 0, music: 0, babble: 0}}, bank_seconds: 20}}
encoder: {{architecture: ecapa_tdnn, channels: 16, aggregation: 24, squeeze: 8, attention: 8, dimension: 12}}
objective: {{contrast_from: 0.2}}
schedule: {{steps: 6}}
training: {{precision: fp32, log_every: 1, validate_every: 0}}
"""


@pytest.fixture(scope="module")
def run(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on made-up voices, a quarter of whose labels are swapped; not to be changed."""
    place = tmp_path_factory.mktemp("why")
    (place / "tiny.yaml").write_text(RECIPE.format(root=voices))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXANGLE_CACHE", str(place / "cache"))
        train(Recipe.read(place / "tiny.yaml"), place / "runs" / "full" / "seed-3")
    return place / "runs" / "full" / "seed-3"


def test_a_run_is_read_as_it_learnt_and_left_as_it_is(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    learnt = Learnt.read(run, "full")
    assert learnt.wrong.sum() == 4
    assert np.array_equal(learnt.labels != learnt.speakers, learnt.wrong)
    keys = learnt.material.training.manifest.column("utterance")
    voices = learnt.material.training.manifest.speakers()
    assert [voices[speaker] for speaker in learnt.speakers] == [key.split("/")[0] for key in keys]

    state = {name: value.clone() for name, value in learnt.encoder.state_dict().items()}
    first, second = (list(learnt.batches(count)) for count in (1, 2))
    assert len(second) == 2
    assert torch.equal(first[0].embeddings, second[0].embeddings)
    batch = second[1]
    assert batch.embeddings.shape == (16, 12)  # 4 speakers x 2 recordings x 2 views
    assert torch.equal(batch.wrong, batch.labels != batch.speakers)
    assert torch.equal(batch.labels, torch.from_numpy(learnt.labels)[batch.rows])
    assert torch.equal(batch.rows[::2], batch.rows[1::2])
    assert all(torch.equal(state[name], value) for name, value in learnt.encoder.state_dict().items())
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_every_part_is_written_with_its_command_seed_and_machine(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main([str(run), "--out", str(out), "--batches", "2", "--seed", "5"])
    parts = ("course", "belief", "angles", "gradient")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"why-{part}.{kind}" for part in parts for kind in ("json", "svg")
    )
    told = {part: json.loads((out / f"why-{part}.json").read_text()) for part in parts}
    for content in told.values():
        assert content["command"].startswith("python -m benchmarks.why ")
        assert content["seed"] == 5
        assert content["machine"]["cores"] >= 1
        assert list(content["runs"]) == ["full/seed-3"]
    belief = told["belief"]["runs"]["full/seed-3"]
    assert (belief["recordings"], belief["wrong"]) == (16, 4)
    assert 0 <= belief["detection"]["belief, all labels"]["auc"]["value"] <= 1
    assert len(told["belief"]["least_believed"]) == 12
    assert told["gradient"]["runs"]["full/seed-3"]["batch"] == 16
    printed = capsys.readouterr().out
    assert "of the gradient's norms" in printed
    assert "s0/u" in printed or "s1/u" in printed


def test_what_is_no_run_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "nothing"), "--out", str(tmp_path / "out"), "--parts", "angles"])
    assert caught.value.code == 2
    assert "nothing/checkpoint.pt: not there (yet)" in capsys.readouterr().err
