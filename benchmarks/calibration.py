"""``python -m benchmarks.calibration``: which measures of quality a calibration gains by, and by which trials.

Of the speakers of a split whom a model was not trained on: Cllr and the actual detection cost of log-likelihood ratios,
cross-validated over speakers, with each measure beside the score, less those of the score alone, with 95 % intervals by
bootstrap over speakers (a trial counts as often as both of its speakers are drawn); once with trials in which language
and channel tell nothing (``balanced_trials``), once with pairs drawn evenly (``trials_of``). Then what each of these
calibrations is worth on the corpus's own lists, of other speakers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxangle.corpora import corpus_reader
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Trials
from voxangle.data.balanced_pairs import balanced_trials
from voxangle.data.batches import LabelledRecordings
from voxangle.data.pairs import trials_of
from voxangle.encoders import Embedder
from voxangle.metrics import act_dcf, cllr, min_cllr
from voxangle.recipe import Recipe
from voxangle.runtime.measures import TRIAL_MEASURES, RecordingMeasures
from voxangle.scoring import cosine_scores
from voxangle.scoring.calibration import calibrate, calibrated, measure_embedded
from voxangle.scoring.system import embed_prepared
from voxangle.training.held_out import hold_out, trained_on

_PRIOR = 0.01  # of the detection cost
_REPLICATES = 1000
_SEED = 0

Floats = NDArray[np.float64]
ByKey = dict[str, RecordingMeasures]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a model's folder")
    parser.add_argument("root", type=Path, help="a table of recordings with lists, such as shared/corpora")
    parser.add_argument("recipe", type=Path, help="that the model was trained by")
    parser.add_argument("--split", default="train", help="to calibrate on")
    parser.add_argument("--tested", default="eval", help="the split of the lists")
    options = parser.parse_args()
    embedder = Embedder.load(options.model)
    corpus = corpus_reader("table").read(options.root)
    recipe = Recipe.read(options.recipe)
    seen = trained_on(embedder.card, "table", corpus, options.split, options.root, recipe)
    prepared = prepare_split(corpus, options.split)
    manifest = hold_out(prepared, seen, recordings=20).manifest
    named = set(manifest.column("utterance").tolist())
    held_out = prepared.where(np.array([key in named for key in prepared.manifest.column("utterance")]))
    embeddings, measures = _embedded(embedder, held_out)
    tested_embeddings, tested_measures = _embedded(embedder, prepare_split(corpus, options.tested))
    for name, tested in corpus.trials.items():
        scores = _scores(tested_embeddings, tested)
        classes = scores[tested.target], scores[~tested.target]
        print(f"the cosine as it is, on {name}: Cllr {cllr(*classes):.3f}, minCllr {min_cllr(*classes):.3f}")
    speaker_of = manifest.speaker_of()
    for how, trials in (
        ("balanced", balanced_trials(manifest, "balanced")),
        ("drawn evenly", trials_of(manifest, "drawn evenly")),
    ):
        speaker = np.unique([speaker_of[key] for key in trials.keys], return_inverse=True)[1]
        scores = _scores(embeddings, trials)
        print(
            f"{how}: {trials.target.sum():,} target and {(~trials.target).sum():,} non-target trials of "
            f"{len(np.unique(speaker[np.stack([trials.enrol, trials.test])]))} speakers"
        )
        alone = None
        for chosen in ((), *((name,) for name in TRIAL_MEASURES)):
            fitted = calibrate(scores, trials, speaker, measures, measures=chosen, source=how)
            alone = fitted.llrs if alone is None else alone
            print(
                f"  {'score' if not chosen else '+ ' + chosen[0]:<12}",
                _gain(fitted.llrs, alone, trials, speaker),
            )
            card = embedder.card.model_copy(update={"calibration": fitted.calibration})
            for name, tested in corpus.trials.items():
                llrs = calibrated(card, _scores(tested_embeddings, tested), tested_measures, tested)
                of_targets, of_others = llrs[tested.target], llrs[~tested.target]
                cost = act_dcf(of_targets, of_others, p_target=_PRIOR)
                print(
                    f"    on {name:<16} Cllr {cllr(of_targets, of_others):.3f}, actDCF({_PRIOR}) {cost:.3f}"
                )


def _embedded(
    embedder: Embedder, recordings: LabelledRecordings
) -> tuple[dict[str, NDArray[np.float32]], ByKey]:
    embeddings = embed_prepared(embedder, recordings)
    place = {key: row for row, key in enumerate(recordings.manifest.column("utterance"))}
    return embeddings, measure_embedded(embeddings, lambda key: recordings.read(place[key]))


def _scores(embeddings: dict[str, NDArray[np.float32]], trials: Trials) -> NDArray[np.float32]:
    return cosine_scores(np.stack([embeddings[key] for key in trials.utterances]), trials)


def _gain(llrs: Floats, alone: Floats, trials: Trials, speaker: NDArray[np.int64]) -> str:
    """Both costs, and how they differ from those of the score alone."""
    one, other = speaker[trials.enrol], speaker[trials.test]
    people = int(speaker.max()) + 1
    draws = np.random.default_rng(_SEED).multinomial(people, np.full(people, 1 / people), size=_REPLICATES)
    text = []
    for what, cost in (("Cllr", _cllr_of), (f"actDCF({_PRIOR})", _cost_of)):
        mine, before = cost(llrs, trials.target), cost(alone, trials.target)
        gaps = []
        for drawn in draws:
            weight = np.where(one == other, drawn[one], drawn[one] * drawn[other]).astype(float)
            for mask in (trials.target, ~trials.target):
                weight[mask] /= weight[mask].sum()
            gaps.append(weight @ (mine - before))
        low, high = np.quantile(gaps, [0.025, 0.975])
        share = np.where(trials.target, 1 / trials.target.sum(), 1 / (~trials.target).sum())
        text.append(f"{what} {share @ mine:.4f} ({share @ (mine - before):+.4f} [{low:+.4f}, {high:+.4f}])")
    return ", ".join(text)


def _cllr_of(llrs: Floats, target: NDArray[np.bool_]) -> Floats:
    """What each trial adds to Cllr, where those of a class weigh 1 together."""
    cost: Floats = np.logaddexp(0, np.where(target, -llrs, llrs)) / (2 * np.log(2))
    return cost


def _cost_of(llrs: Floats, target: NDArray[np.bool_]) -> Floats:
    """What each trial adds to the normalised detection cost."""
    accepted = llrs >= np.log((1 - _PRIOR) / _PRIOR)
    cost: Floats = np.where(target, ~accepted, accepted * (1 - _PRIOR) / _PRIOR).astype(np.float64)
    return cost


if __name__ == "__main__":
    main()
