"""How often variants that are equally good are called different, by how the seeds are taken into account.

``python -m benchmarks.seeds [--ablations 200] [--seeds 2 3 5] [--speakers 60] [--replicates 400] [--out FILE]``

Of two variants neither is better. Each changes every voice a little in its own way, and each training (seed) again, and
makes a model that is better or worse as a whole; scores are cosines. Four ways of testing the difference of the mean
EERs at 5 % look at the same trials:

- ``ours``: the speakers drawn, the seeds' error by Student's distribution (``voxangle.ablation``);
- ``drawn seeds``: the speakers drawn, and the seeds too, with replacement; bare percentiles;
- ``speakers alone``: the models taken as all there are;
- ``seeds alone``: Student's paired test over the seeds, as if the list were all speakers there are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t  # type: ignore[import-untyped]

from voxangle.ablation.statistics import difference_over_seeds
from voxangle.metrics.bootstrap import resample
from voxangle.metrics.intervals import Replicates
from voxangle.scoring.machine import Machine

__all__ = ["false_alarms"]

_DIMENSION, _UTTERANCES = 16, 4
_WAYS = ("ours", "drawn seeds", "speakers alone", "seeds alone")
Vectors = NDArray[np.float64]


def false_alarms(
    *, ablations: int, seeds: int, speakers: int, replicates: int, of_training: float, seed: int
) -> dict[str, float]:
    """Share of ablations in which each way calls a difference, by way.

    Args:
        ablations: simulated.
        seeds: that both variants are trained with.
        speakers: of the list; new ones in every ablation.
        replicates: of the bootstrap.
        of_training: spread of the trainings' quality, as a share of the spread within a speaker.
        seed: of the simulation.
    """
    random = np.random.default_rng(seed)
    called = np.zeros(len(_WAYS))
    for _ in range(ablations):
        called += _calls(random, seeds, speakers, replicates, of_training)
    return dict(zip(_WAYS, (called / ablations).tolist(), strict=True))


def _calls(
    random: np.random.Generator, seeds: int, speakers: int, replicates: int, of_training: float
) -> NDArray[np.bool_]:
    voices = random.standard_normal((speakers, 1, _DIMENSION))
    hardness = random.gamma(4, 1 / 4, (speakers, 1, 1))
    sound = voices + 0.9 * hardness * random.standard_normal((speakers, _UTTERANCES, _DIMENSION))
    first, second = np.triu_indices(speakers * _UTTERANCES, 1)
    who = np.repeat(np.arange(speakers), _UTTERANCES)
    target = who[first] == who[second]
    kept = target | (random.random(target.size) < 4000 / target.size)
    first, second, target = first[kept], second[kept], target[kept]

    def variant() -> dict[int, Replicates]:
        own = 0.4 * random.standard_normal((speakers, 1, _DIMENSION))
        return {number: trained(own) for number in range(seeds)}

    def trained(own: Vectors) -> Replicates:
        blur = 0.7 * np.exp(of_training * random.standard_normal())
        heard = sound + own + 0.2 * random.standard_normal((speakers, 1, _DIMENSION))
        heard = (heard + blur * random.standard_normal(heard.shape)).reshape(-1, _DIMENSION)
        heard /= np.linalg.norm(heard, axis=1, keepdims=True)
        scores = np.einsum("td,td->t", heard[first], heard[second])
        return resample(
            scores, target, who[first], who[second], priors=(0.05,), replicates=replicates, seed=0
        )

    one, other = variant(), variant()
    over = difference_over_seeds(one, other)
    assert over is not None
    differences = np.stack([(one[n] - other[n]).draws[:, 0] for n in range(seeds)])
    on_list = np.array([float((one[n] - other[n]).figures[0]) for n in range(seeds)])
    chosen = random.integers(seeds, size=(seeds, replicates))
    drawn = np.nanquantile(np.take_along_axis(differences, chosen, axis=0).mean(axis=0), [0.025, 0.975])
    alone = np.nanquantile(differences.mean(axis=0), [0.025, 0.975])
    return np.array(
        [
            over.p_values[0] < 0.05,
            drawn[0] > 0 or drawn[1] < 0,
            alone[0] > 0 or alone[1] < 0,
            abs(on_list.mean()) > t.ppf(0.975, seeds - 1) * on_list.std(ddof=1) / np.sqrt(seeds),
        ]
    )


def main() -> None:
    """Simulate and print, with exact binomial intervals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ablations", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    rows = []
    for of_training in (0.02, 0.2):
        for seeds in options.seeds:
            shares = false_alarms(
                ablations=options.ablations,
                seeds=seeds,
                speakers=options.speakers,
                replicates=options.replicates,
                of_training=of_training,
                seed=options.seed,
            )
            rows.append({"seeds": seeds, "spread of trainings": of_training, **shares})
            shown = ", ".join(
                f"{way} {100 * share:.1f} % [{_interval(share, options.ablations)}]"
                for way, share in shares.items()
            )
            print(f"{seeds} seeds, trainings that differ by {of_training:g}: {shown}", flush=True)
    if options.out:
        machine = Machine.here().model_dump()
        options.out.write_text(
            json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


def _interval(share: float, of: int) -> str:
    hits = round(share * of)
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return f"{100 * low:.1f}-{100 * high:.1f}"


if __name__ == "__main__":
    main()
