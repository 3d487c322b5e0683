"""``python -m benchmarks.voiceprints``: how fast stores of voiceprints answer, and what an approximate index misses.

Made-up voices: a person is a direction drawn at random, a recording lies around it, so that two recordings of a person
have a cosine of about 0.7 and those of two people one of 0, with a deviation of 0.07 in 192 dimensions. Directions
drawn at random are the hardest that an approximate index can be given: real voices lie in fewer dimensions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_of
from voxangle.runtime.measures import RecordingMeasures
from voxangle.voiceprints import Entry, Model, Recording, Reference, Voiceprint, VoiceprintStore, open_store
from voxangle.voiceprints.exact_index import ExactIndex

__all__ = ["main"]

_MEASURES = RecordingMeasures(12.0, 0.0, -20.0, 3.0)
_SPREAD = 0.65  # of a recording around its person, whose norm is 1
_NEAREST = 10


def main() -> None:
    """Fill a store, and time what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=192)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--store", help="postgresql://...; a new SQLite file by default")
    parser.add_argument("--folder", type=Path, help="where to make that file; a temporary folder by default")
    parser.add_argument("--index-alone", action="store_true", help="the vectors in memory, without a store")
    options = parser.parse_args()
    if options.index_alone:
        _measure_index(options.people, options.dimension, options.queries)
        return
    model = Model("0" * 64, "made up", options.dimension)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = options.store or str(Path(folder) / "prints.sqlite")
        with open_store(place) as store:
            began = time.perf_counter()
            store.put(_people(options.people, model), actor="benchmark")
            print(f"{options.people:,} prints of {options.dimension} dimensions")
            print(f"put, one transaction: {time.perf_counter() - began:.1f} s")
            _measure(store, model, options.people, options.queries)
        if not options.store:
            print(f"file: {Path(place).stat().st_size / 1e6:,.0f} MB")
            peak = peak_of(_SEARCH, place, str(options.dimension), before=_IMPORTS)
            print(f"memory of a process that searches, beyond imports: {peak.added:,.0f} MB")


def _measure_index(people: int, dimension: int, queries: int) -> None:
    random = np.random.default_rng(5)
    index = ExactIndex(dimension)
    index.reserve(people)
    for first in range(0, people, 4096):
        numbers = range(first, min(first + 4096, people))
        index.put(numbers, random.standard_normal((len(numbers), dimension), dtype=np.float32))
    probes = random.standard_normal((queries, dimension), dtype=np.float32)
    print(f"{people:,} vectors of {dimension} dimensions in memory")
    _tell("100 nearest", lambda probe: index.nearest(probe, 100), probes)


def _measure(store: VoiceprintStore, model: Model, people: int, queries: int) -> None:
    random = np.random.default_rng(1)
    asked = random.integers(people, size=queries).tolist()
    probes = [_recording(person, model.dimension, 1) for person in asked]
    strangers = [_recording(people + number, model.dimension, 0) for number in range(queries)]
    began = time.perf_counter()
    store.search(model, probes[0], _NEAREST)
    print(f"first search, which reads the store: {time.perf_counter() - began:.2f} s")
    _tell("search", lambda probe: store.search(model, probe, _NEAREST), probes)
    _tell("search, 100 nearest (as identify does)", lambda probe: store.search(model, probe, 100), probes)
    right = [
        store.search(model, probe, 1).neighbours[0].entry.name == _name(person)
        for probe, person in zip(probes, asked, strict=True)
    ]
    print(f"nearest is the person: {np.mean(right):.3f}")
    if getattr(store, "indexed", False):
        # By a matrix product, not by the server, whose exact search might be no such thing.
        truth = ExactIndex(model.dimension)
        truth.put(range(people), np.stack([_recording(one, model.dimension, 0) for one in range(people)]))
        for what, of in (("of people enrolled", probes), ("of strangers", strangers)):
            for exact in (False, True):
                first, ten = (
                    np.mean([_recall(store, truth, model, probe, count, exact=exact) for probe in of])
                    for count in (1, _NEAREST)
                )
                way = "exact search" if exact else "index"
                print(
                    f"recall {what}, {way}: of the nearest {first:.4f}, of the {_NEAREST} nearest {ten:.4f}"
                )
        _tell("exact search", lambda probe: store.search(model, probe, _NEAREST, exact=True), probes[:20])
    _tell("get by name", lambda person: store.get(_name(person), model), asked)
    new = [_made_up(people + number, model) for number in range(50)]
    names = [f"new {number}" for number in range(len(new))]
    _tell(
        "enrol", lambda number: store.enrol(names[number], model, [new[number]], actor="benchmark"), range(50)
    )
    others = iter(range(10_000_000, 10_001_000))
    _tell(
        "search after something was written",
        lambda probe: store.search(model, probe, _NEAREST),
        probes[:20],
        before=lambda: store.extend(names[-1], model, [_made_up(next(others), model)], actor="benchmark"),
    )
    _tell("delete, until its bytes are gone", lambda name: store.delete([name], actor="benchmark"), names[:3])
    _tell(f"delete {len(names[3:])} at once", lambda many: store.delete(many, actor="benchmark"), [names[3:]])


def _made_up(person: int, model: Model) -> Recording:
    return Recording(_recording(person, model.dimension, 0), _MEASURES)


def _recall(
    store: VoiceprintStore,
    truth: ExactIndex,
    model: Model,
    probe: NDArray[np.float32],
    nearest: int,
    *,
    exact: bool,
) -> float:
    expected = {_name(number) for number, _ in truth.nearest(probe, nearest)}
    found = {one.entry.name for one in store.search(model, probe, nearest, exact=exact).neighbours}
    return len(expected & found) / len(expected)


def _tell(
    what: str,
    call: Callable[[Any], object],
    over: Iterable[Any],
    before: Callable[[], object] = lambda: None,
) -> None:
    """Time calls: by the clock, which knows of the machine's other work, and by the processor, which does not."""
    taken = []
    for one in over:
        before()
        clock, processor = time.perf_counter(), time.process_time()
        call(one)
        taken.append((time.perf_counter() - clock, time.process_time() - processor))
    quantiles = np.quantile(1000 * np.array(taken), [0.25, 0.5, 0.75, 0.99], axis=0)
    low, median, high, late = quantiles[:, 0].tolist()
    print(
        f"{what}: {median:,.2f} [{low:,.2f}, {high:,.2f}] ms, 99 % within {late:,.2f} ms; processor "
        f"{quantiles[1, 1]:,.2f} ms ({len(taken)} calls)",
        flush=True,
    )


def _people(count: int, model: Model) -> Iterator[Voiceprint]:
    now = datetime.now(UTC)
    ids = np.random.default_rng(2)
    for person in range(count):
        vector = _recording(person, model.dimension, 0)
        print_id = uuid.UUID(bytes=ids.bytes(16)).hex
        entry = Entry(print_id, _name(person), model, None, 1, _MEASURES, now, now)
        recording = Recording(vector, _MEASURES, Reference("a.wav", print_id * 2), now)
        yield Voiceprint(entry, vector, (recording,))


def _name(person: int) -> str:
    return f"person {person}"


def _recording(person: int, dimension: int, number: int) -> NDArray[np.float32]:
    own = np.random.default_rng((3, person)).standard_normal(dimension)
    apart = np.random.default_rng((4, person, number)).standard_normal(dimension)
    return (own + _SPREAD * apart).astype(np.float32)


_IMPORTS = """
import numpy as np
from voxangle.voiceprints import Model, open_store
"""
_SEARCH = """
dimension = int(sys.argv[2])
with open_store(sys.argv[1]) as store:
    store.search(Model("0" * 64, "made up", dimension), np.ones(dimension, np.float32), 10)
"""


if __name__ == "__main__":
    main()
