from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow.parquet import write_table

from voxangle import __version__
from voxangle.data import Manifest, Trials, Utterance
from voxangle.data.conditions import conditions
from voxangle.errors import TrialError, VoxangleError
from voxangle.metrics import eer, min_dcf
from voxangle.scoring import (
    Model,
    Protocol,
    Result,
    TrialScores,
    compare,
    cosine_scores,
    evaluate,
    read_evaluation,
    trials_sha256,
)
from voxangle.scoring.evaluate import Calibrator
from voxangle.scoring.measure import remeasure

SPEAKERS = {f"s{s}/{u}": f"s{s}" for s in range(12) for u in range(4)}


def voices(noise: float, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Embeddings scattered around one point a speaker."""
    generator = np.random.default_rng(seed)
    centres = {speaker: generator.normal(size=16) for speaker in sorted(set(SPEAKERS.values()))}
    return {
        key: (centres[speaker] + generator.normal(0, noise, 16)).astype(np.float32)
        for key, speaker in SPEAKERS.items()
    }


def all_trials(name: str = "all") -> Trials:
    keys = list(SPEAKERS)
    return Trials.of(
        name,
        [(SPEAKERS[a] == SPEAKERS[b], a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]],
    )


@pytest.fixture(scope="module")
def result() -> Result:
    return evaluate(
        voices(1.0),
        all_trials(),
        speakers=SPEAKERS,
        model=Model(name="toy", sha256="ab" * 32),
        replicates=100,
        notes=["Toy voices."],
        command="voxangle evaluate toy",
    )


def test_the_figures_are_those_of_the_scores(result: Result) -> None:
    trials, embeddings = all_trials(), voices(1.0)
    scores = cosine_scores(np.stack([embeddings[key] for key in trials.utterances]), trials)
    target, nontarget = scores[trials.target], scores[~trials.target]
    assert (result.eer.value, result.eer.threshold) == (
        eer(target, nontarget).rate,
        eer(target, nontarget).threshold,
    )
    assert [(cost.p_target, cost.value) for cost in result.min_dcf] == [
        (p, min_dcf(target, nontarget, p_target=p).rate) for p in (0.01, 0.05)
    ]
    assert result.eer.low <= result.eer.value <= result.eer.high
    assert 0 < result.eer.value < 0.5
    assert result.scores is not None
    np.testing.assert_array_equal(result.scores.of_targets, target)
    np.testing.assert_array_equal(result.scores.of_nontargets, nontarget)


def test_the_result_carries_its_protocol(result: Result) -> None:
    assert result.counts.model_dump() == {
        "trials": 1128,
        "targets": 72,
        "nontargets": 1056,
        "utterances": 48,
        "speakers": 12,
        "models": 0,
    }
    assert result.protocol.scoring == "cosine"
    assert result.protocol.crop == "full utterance"
    assert result.protocol.mean_subtraction == "none"
    assert "ties" in result.eer.definition or "tied" in result.eer.definition
    assert (result.intervals.unit, result.intervals.level, result.intervals.seed) == ("speaker", 0.95, 0)
    assert result.intervals.replicates + result.intervals.discarded == 100
    assert result.intervals.speakers_from == "corpus"
    assert (result.model.name, result.model.sha256) == ("toy", "ab" * 32)
    assert result.voxangle == __version__
    assert result.command == "voxangle evaluate toy"
    assert result.machine.cores == os.cpu_count()
    assert result.notes[0] == "Toy voices."
    assert any("Only 12 speakers" in note for note in result.notes)


def test_the_checksum_is_that_of_the_written_list(tmp_path: Path, result: Result) -> None:
    trials = all_trials()
    trials.write(tmp_path / "all.txt")
    assert result.trials_sha256 == hashlib.sha256((tmp_path / "all.txt").read_bytes()).hexdigest()
    assert trials_sha256(all_trials("another name")) == result.trials_sha256
    flipped = Trials("all", trials.utterances, trials.enrol, trials.test, ~trials.target)
    assert trials_sha256(flipped) != result.trials_sha256


def test_a_result_survives_being_written_and_read_with_its_scores(tmp_path: Path, result: Result) -> None:
    result.write(tmp_path / "result.json")
    assert "scores" not in json.loads((tmp_path / "result.json").read_text())
    read = Result.read(tmp_path / "result.json")
    assert read.model_dump() == result.model_dump()
    ours, theirs = result.scores, read.scores
    assert ours is not None
    assert theirs is not None
    np.testing.assert_array_equal(theirs.scores, ours.scores)
    np.testing.assert_array_equal(theirs.target, ours.target)
    for side in ("enrol", "test"):
        places = [getattr(one, side) for one in (ours, theirs)]
        assert [theirs.keys[n] for n in places[1]] == [ours.keys[n] for n in places[0]]
        named = [[one.speakers[n] for n in getattr(one, f"{side}_speaker")] for one in (ours, theirs)]
        assert named[0] == named[1] == [SPEAKERS[ours.keys[n]] for n in places[0]]
    assert theirs.session is None
    assert theirs.llrs is None
    assert theirs.trials_sha256 == result.trials_sha256
    assert compare(result, read, replicates=10).eer == 0
    (tmp_path / "result.parquet").unlink()
    assert Result.read(tmp_path / "result.json").scores is None


def test_what_is_known_of_trials_survives_being_written_and_read(tmp_path: Path) -> None:
    trials = all_trials()
    sessions = {key: f"{key[-1]}" for key in SPEAKERS if key != "s0/0"}
    early = np.arange(len(trials)) < 500
    parts = {"early": early, "late": ~early, "never": early & ~early}
    scores = evaluate(voices(1.0), trials, sessions=sessions, conditions=parts, replicates=10).scores
    assert scores is not None
    assert scores.session is not None
    assert len(set(scores.session.tolist())) == len(SPEAKERS), "a session is one speaker's"
    scores = replace(scores, llrs=2 * scores.scores)
    scores.write(tmp_path / "scores.parquet")
    read = TrialScores.read(tmp_path / "scores.parquet")
    assert list(read.conditions) == ["early", "late"]
    np.testing.assert_array_equal(read.conditions["late"], ~early)
    np.testing.assert_array_equal(read.llrs, 2 * scores.scores)
    assert read.session is not None
    np.testing.assert_array_equal(read.session[read.test], scores.session[scores.test])
    # Without names of speakers there are numbers.
    scores = evaluate(voices(1.0), trials, replicates=10).scores
    assert scores is not None
    scores.write(tmp_path / "scores.parquet")
    read = TrialScores.read(tmp_path / "scores.parquet")
    assert (read.speakers, read.session, read.llrs) == ((), None, None)
    assert (read.enrol_speaker == read.test_speaker).tolist() == trials.target.tolist()


def test_scores_of_another_list_beside_a_result_are_refused(tmp_path: Path, result: Result) -> None:
    result.write(tmp_path / "result.json")
    other = evaluate(
        voices(1.0), Trials.of("all", [(True, "s0/0", "s0/1"), (False, "s0/0", "s1/0")]), replicates=10
    )
    other.write(tmp_path / "other.json")
    (tmp_path / "other.parquet").rename(tmp_path / "result.parquet")
    with pytest.raises(
        VoxangleError, match=r"result\.parquet: holds the scores of another list than result\.json"
    ):
        Result.read(tmp_path / "result.json")


def test_a_folder_of_results_is_read_whole(tmp_path: Path, result: Result) -> None:
    result.write(tmp_path / "b.json")
    result.write(tmp_path / "a.json")
    (tmp_path / "notes.json").write_text("{}")  # not a result: nothing lies beside it
    assert [one.name for one in read_evaluation(tmp_path)] == ["all", "all"]
    with pytest.raises(
        VoxangleError, match="nowhere: no such folder; give one that `voxangle evaluate` wrote"
    ):
        read_evaluation(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VoxangleError, match="empty: no results with their scores"):
        read_evaluation(tmp_path / "empty")


def test_files_that_are_not_results_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(VoxangleError, match=r"none\.json: no such result"):
        Result.read(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"name": "x"}')
    with pytest.raises(VoxangleError, match=r"other\.json: not a voxangle result: trials_sha256"):
        Result.read(tmp_path / "other.json")
    with pytest.raises(VoxangleError, match=r"other\.json: not a file of trial scores"):
        TrialScores.read(tmp_path / "other.json")
    with pytest.raises(VoxangleError, match=r"none\.parquet: no such file of trial scores"):
        TrialScores.read(tmp_path / "none.parquet")
    write_table(pa.table({"enrol": ["a"]}), tmp_path / "column.parquet")
    with pytest.raises(VoxangleError, match=r"column\.parquet: not a file of trial scores"):
        TrialScores.read(tmp_path / "column.parquet")


def test_embeddings_may_be_keys_and_a_matrix_with_more_than_the_list_names(result: Result) -> None:
    embeddings = voices(1.0)
    keys = ["unused", *reversed(embeddings)]
    matrix = np.stack([np.ones(16, dtype=np.float32), *(embeddings[key] for key in keys[1:])])
    again = evaluate((keys, matrix), all_trials(), speakers=SPEAKERS, replicates=10)
    assert again.eer.value == result.eer.value


def test_a_bare_list_tells_its_speakers_and_says_so(result: Result) -> None:
    bare = evaluate(voices(1.0), all_trials(), replicates=100)
    assert bare.counts.speakers == 12
    assert bare.intervals.speakers_from == "target trials"
    assert any("target trials join" in note for note in bare.notes)
    assert (bare.eer.low, bare.eer.high) == (result.eer.low, result.eer.high)


def test_priors_are_the_protocols() -> None:
    protocol = Protocol(p_targets=(0.2,))
    result = evaluate(voices(1.0), all_trials(), protocol=protocol, replicates=10)
    assert [cost.p_target for cost in result.min_dcf] == [0.2]


@pytest.mark.parametrize("speakers", [SPEAKERS, None])
def test_the_order_of_the_list_moves_no_interval(speakers: dict[str, str] | None, tmp_path: Path) -> None:
    trials = all_trials()
    order = np.random.default_rng(0).permutation(len(trials))
    pairs = [
        (bool(trials.target[i]), trials.keys[trials.enrol[i]], trials.keys[trials.test[i]]) for i in order
    ]
    one, other = (
        evaluate(voices(1.0), each, speakers=speakers, replicates=50)
        for each in (trials, Trials.of("all", pairs))
    )
    assert (one.eer, one.min_dcf) == (other.eer, other.min_dcf)
    # Nor does a file move it.
    one.write(tmp_path / "one.json")
    read = Result.read(tmp_path / "one.json")
    again = remeasure(read, read.require_scores(), protocol=one.protocol, model=one.model, replicates=50)
    assert (again.eer, again.min_dcf) == (one.eer, one.min_dcf)


def test_ratios_of_a_calibration_that_knew_the_list_are_said_to_be_flattered() -> None:
    trials = all_trials()

    def llrs(scores: NDArray[np.float32], _: Trials) -> NDArray[np.float32]:
        return 8 * scores - 2

    for known, flattered in ((trials.sha256(), True), ("", False), ("ab", False)):
        result = evaluate(
            voices(1.0),
            trials,
            calibration=Calibrator(llrs, "trials", known),
            speakers=SPEAKERS,
            replicates=10,
        )
        assert result.calibrated is not None
        assert any("on this very list" in note for note in result.notes) == flattered


def test_a_cost_that_hardly_a_false_alarm_decides_says_so() -> None:
    result = evaluate(voices(1.0), all_trials(), speakers=SPEAKERS, replicates=10)
    scores = result.require_scores()
    for cost in result.min_dcf:
        alarms = np.count_nonzero(scores.of_nontargets >= cost.threshold)
        said = f"minDCF at p = {cost.p_target:g} stands on {alarms} false alarms"
        assert any(said in note for note in result.notes) == (alarms < 10 and cost.value < 1)
    assert any("p = 0.01 stands on" in note for note in result.notes)
    # Of other scores on the list other things are to be said.
    worse = remeasure(
        result,
        replace(scores, scores=np.round(scores.scores)),
        protocol=result.protocol,
        model=result.model,
        replicates=10,
    )
    assert not any("stands on" in note for note in worse.notes)
    assert [note for note in worse.notes if "speakers" in note] == [
        note for note in result.notes if "speakers" in note
    ]


def test_perfect_scores_come_with_a_caution() -> None:
    result = evaluate(voices(0.01), all_trials(), replicates=10)
    assert (result.eer.value, result.eer.low, result.eer.high) == (0, 0, 0)
    assert any("No error was seen" in note for note in result.notes)


def test_two_systems_are_compared_on_one_list() -> None:
    trials = all_trials()
    good, bad = (evaluate(voices(noise), trials, speakers=SPEAKERS, replicates=10) for noise in (0.8, 2.0))
    difference = compare(good, bad, replicates=100)
    assert difference.eer == pytest.approx(good.eer.value - bad.eer.value)
    assert difference.eer_interval.high < 0
    assert difference.speakers == 12


def test_who_speaks_may_be_known_to_one_result_alone() -> None:
    keys = list(SPEAKERS)
    # Target trials alone make four speakers of s0's utterances and of s1's.
    pairs = [
        (True, keys[0], keys[1]),
        (True, keys[2], keys[3]),
        (True, keys[4], keys[5]),
        (True, keys[6], keys[7]),
    ]
    trials = Trials.of("few", [*pairs, *((False, keys[i], keys[4 + j]) for i in range(4) for j in range(4))])
    known = evaluate(voices(1.0), trials, speakers=SPEAKERS, replicates=10)
    guessed = evaluate(voices(2.0), trials, replicates=10)
    assert guessed.counts.speakers == 4
    assert compare(guessed, known, replicates=50).speakers == 2
    assert compare(known, guessed, replicates=50).speakers == 2


def test_results_of_other_lists_or_without_scores_are_not_compared(tmp_path: Path, result: Result) -> None:
    pairs = [(True, "s0/0", "s0/1"), (False, "s0/0", "s1/0")]
    for name, said in (
        ("other", "'toy' was measured on the list 'all', 'unnamed' on the list 'other'"),
        ("all", "'toy' and 'unnamed' were measured on two lists that are both called 'all'"),
    ):
        other = evaluate(voices(1.0), Trials.of(name, pairs), replicates=10)
        with pytest.raises(TrialError, match=said):
            compare(result, other)
    bare = result.model_copy(update={"scores": None})
    with pytest.raises(TrialError, match="'toy' was read without its scores"):
        compare(bare, result)
    rival = evaluate(voices(1.0), all_trials(), protocol=Protocol(p_targets=(0.5,)), replicates=10)
    with pytest.raises(
        TrialError, match=r"differ in protocol: p_targets is '\(0\.01, 0\.05\)' and '\(0\.5,\)'"
    ):
        compare(result, rival)
    with pytest.raises(TrialError, match="different priors"):
        compare(result, rival, across_protocols=True)


def test_an_utterance_without_embedding_is_named_and_counted() -> None:
    embeddings = voices(1.0)
    del embeddings["s3/1"], embeddings["s3/2"]
    with pytest.raises(TrialError, match=r"all: no embedding of 's3/1' \(2 of the 48 utterances"):
        evaluate(embeddings, all_trials())


def test_an_utterance_without_speaker_is_named() -> None:
    some = {key: speaker for key, speaker in SPEAKERS.items() if key != "s0/2"}
    with pytest.raises(TrialError, match=r"all: no speaker of 's0/2' \(1 of"):
        evaluate(voices(1.0), all_trials(), speakers=some)


@pytest.mark.parametrize(("target", "missing"), [(True, "non-target"), (False, "target")])
def test_a_list_of_one_class_names_the_missing_one(target: bool, missing: str) -> None:
    trials = Trials.of("half", [(target, "s0/0", "s0/1")])
    with pytest.raises(TrialError, match=f"half: the list has no {missing} trials"):
        evaluate(voices(1.0), trials)


def test_a_label_that_contradicts_the_speakers_is_named() -> None:
    rows = [(True, "s0/0", "s0/1"), (False, "s0/0", "s1/0"), (True, "s0/2", "s1/1")]
    message = "wrong, trial 3: 's0/2' and 's1/1' are a target trial, but of two speakers by the corpus"
    with pytest.raises(TrialError, match=message):
        evaluate(voices(1.0), Trials.of("wrong", rows), speakers=SPEAKERS)


def test_a_bare_list_with_wrong_labels_is_scored_as_it_is_and_says_so() -> None:
    rows = [(True, "s0/0", "s0/1"), (True, "s0/1", "s0/2"), (False, "s0/0", "s0/2"), (False, "s0/0", "s1/0")]
    result = evaluate(voices(1.0), Trials.of("chained", rows), replicates=100)
    assert result.counts.nontargets == 2
    assert any("1 non-target trials pair utterances" in note for note in result.notes)


def models_and_pairs() -> tuple[dict[str, list[str]], list[tuple[bool, str, str]]]:
    """One model of three utterances a speaker, and all the fourth ones to test."""
    models = {f"{s}-enroll": [f"{s}/{u}" for u in range(3)] for s in sorted(set(SPEAKERS.values()))}
    return models, [(m == f"s{s}-enroll", m, f"s{s}/3") for m in models for s in range(12)]


def test_models_of_several_utterances_are_scored_by_their_average_and_the_result_says_so() -> None:
    models, pairs = models_and_pairs()
    trials = Trials.of("multi", pairs, models=models)
    result = evaluate(voices(1.0), trials, speakers=SPEAKERS, replicates=20)
    assert result.protocol.enrolment == "average"
    assert (result.counts.models, result.counts.utterances, result.counts.speakers) == (12, 48, 12)
    averaged = voices(1.0)
    averaged |= {name: np.mean([averaged[key] for key in keys], axis=0) for name, keys in models.items()}
    plain = evaluate(averaged, Trials.of("plain", pairs), replicates=20)
    assert plain.protocol.enrolment == "one utterance"
    assert result.eer.value == plain.eer.value
    assert (result.eer.low, result.eer.high) == (plain.eer.low, plain.eer.high)
    bare = evaluate(voices(1.0), trials, replicates=20)
    assert (bare.counts.speakers, bare.eer) == (12, result.eer)
    assert result.trials_sha256 == trials.sha256() != plain.trials_sha256


def test_a_model_of_two_speakers_is_refused_by_name() -> None:
    models, pairs = models_and_pairs()
    trials = Trials.of("multi", pairs, models=models | {"s2-enroll": ["s2/0", "s4/1"]})
    with pytest.raises(
        TrialError, match=r"multi: the model 's2-enroll' has utterances of two speakers, 's2/0'"
    ):
        evaluate(voices(1.0), trials, speakers=SPEAKERS)


def test_enrolment_rules_are_not_mixed_silently() -> None:
    joined = replace(all_trials(), concatenated=True)
    assert evaluate(voices(1.0), joined, replicates=5).protocol.enrolment == "concatenated"
    models, pairs = models_and_pairs()
    for trials, asked in [
        (all_trials(), "average"),
        (joined, "one utterance"),
        (Trials.of("all", pairs, models=models), "concatenated"),
    ]:
        with pytest.raises(
            TrialError, match=f"all: the protocol asks for the enrolment '{asked}', but that of"
        ):
            evaluate(voices(1.0), trials, protocol=Protocol(enrolment=asked), replicates=5)


def test_conditions_have_the_figures_of_their_trials() -> None:
    trials, embeddings = all_trials(), voices(1.5)
    number = np.array([int(SPEAKERS[key][1:]) for key in trials.utterances])
    even = (number[trials.enrol] + number[trials.test]) % 2 == 0
    masks = {
        "even": even,
        "nobody": np.zeros(len(trials), dtype=bool),
        "odd": ~even,
        "some targets": trials.target & (number[trials.enrol] < 4),
    }
    result = evaluate(embeddings, trials, speakers=SPEAKERS, conditions=masks, replicates=50)
    assert [condition.name for condition in result.conditions] == ["even", "odd", "some targets"]
    assert [condition.whole for condition in result.conditions] == ["", "targets", "nontargets"]
    scores, is_target = cosine_scores(np.stack([*embeddings.values()]), trials), trials.target
    for condition, part in zip(
        result.conditions, (even, ~even | is_target, masks["some targets"] | ~is_target), strict=True
    ):
        of_targets, of_others = scores[part & is_target], scores[part & ~is_target]
        assert (condition.targets, condition.nontargets) == (of_targets.size, of_others.size)
        assert condition.eer.value == eer(of_targets, of_others).rate
        assert [cost.value for cost in condition.min_dcf] == [
            min_dcf(of_targets, of_others, p_target=p).rate for p in (0.01, 0.05)
        ]
        assert 0 <= condition.eer.low <= condition.eer.high <= 1
        assert condition.speakers == 12
    assert result.eer == evaluate(embeddings, trials, speakers=SPEAKERS, replicates=50).eer
    assert Result.model_validate_json(result.model_dump_json()).conditions == result.conditions


def test_trials_of_unknown_condition_are_counted_in_a_note() -> None:
    manifest = Manifest.of(
        (
            Utterance(key, speaker, key, gender="f" if speaker < "s5" else "")
            for key, speaker in SPEAKERS.items()
        ),
        ".",
    )
    trials = all_trials()
    result = evaluate(voices(1.0), trials, conditions=conditions(trials, manifest), replicates=5)
    assert [condition.name for condition in result.conditions] == ["same gender"]
    unknown = len(trials) - np.count_nonzero(conditions(trials, manifest)["same gender"])
    assert any(f"In {unknown} of the 1,128 trials the gender of a side is unknown" in n for n in result.notes)
    assert any("In 1,128 of the 1,128 trials the duration" in note for note in result.notes)


def test_a_condition_of_too_few_speakers_has_the_interval_of_ignorance() -> None:
    trials = all_trials()
    two = {"s0/0", "s0/1", "s1/0"}
    mask = np.array(
        [
            {trials.utterances[a], trials.utterances[b]} <= two
            for a, b in zip(trials.enrol, trials.test, strict=True)
        ]
    )
    # One draw, and it has one of the two speakers twice.
    seed = next(s for s in range(9) if 2 in np.random.default_rng(s).multinomial(2, [0.5, 0.5]))
    result = evaluate(voices(1.0), trials, conditions={"two": mask}, replicates=1, seed=seed)
    assert (result.conditions[0].eer.low, result.conditions[0].eer.high) == (0, 1)
    assert result.conditions[0].speakers == 2


@pytest.mark.corpus
def test_the_shared_lists_agree_with_their_speakers(shared_corpora: Path) -> None:
    with (shared_corpora / "utterances.csv").open(encoding="utf-8") as file:
        speakers = {row["path"]: f"{row['corpus']}/{row['speaker']}" for row in csv.DictReader(file)}
    generator = np.random.default_rng(0)
    for path in sorted((shared_corpora / "trials").glob("*.txt")):
        trials = Trials.read(path)
        embeddings = {key: generator.normal(size=4) for key in trials.utterances}
        known = evaluate(embeddings, trials, speakers=speakers, replicates=5)
        bare = evaluate(embeddings, trials, replicates=5)
        # Lists that sample few target trials split a person into several groups.
        assert known.counts.speakers <= bare.counts.speakers
        assert known.eer.value == bare.eer.value
        assert known.eer.value == pytest.approx(0.5, abs=0.1)
