"""PLDA as a rule of scoring: what is done to embeddings before, the model, and the file it is kept in."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from voxangle.errors import TrialError
from voxangle.scoring.directions import Embedded, centred, unit_length
from voxangle.scoring.embedding_set import EmbeddingSet
from voxangle.scoring.products import Sides
from voxangle.scoring.result import PLDAScoring
from voxangle.scoring.two_covariance import SpeakerStatistics, TwoCovariance
from voxangle.storage import atomic_write

__all__ = ["PLDA"]

_SINGULAR = 1e-10  # the least variance beside the largest


@dataclass(frozen=True, eq=False)
class PLDA:
    r"""Log-likelihood ratios of the two-covariance model (``voxangle.scoring.two_covariance``), as a ``Backend``.

    An embedding :math:`x` is first centred and turned, :math:`A (x - c)`, and brought to unit length, which makes its
    distribution more like a Gaussian (Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization in
    speaker recognition systems", Interspeech 2011).

    A model of n utterances is scored as the mean of their embeddings, as by the cosine (``average``), or "by the book",
    with n utterances as observations of their own (``joint``). The book takes them for independent, which those of
    one session are not: averaging is often the better one (Rajan et al., "From single to multiple enrollment i-vectors:
    practical PLDA scoring variants for speaker verification", Digital Signal Processing 31, 2014).

    Attributes:
        centre: shape (D,), subtracted from embeddings: the mean of those it was learnt from.
        transform: shape (P, D), :math:`A`.
        model: of P dimensions.
        record: how it was learnt, for the protocol.
        keys: of the utterances it was learnt from.
        speakers: of these.
        enrolment: what a model of several utterances is.
    """

    centre: NDArray[np.float64]
    transform: NDArray[np.float64]
    model: TwoCovariance
    record: PLDAScoring
    keys: frozenset[str]
    speakers: frozenset[str]
    enrolment: Literal["average", "joint"] = "average"

    @classmethod
    def fit(
        cls,
        learnt_from: EmbeddingSet,
        *,
        lda: int | None = None,
        whitening: bool = False,
        length_normalisation: bool = True,
        enrolment: Literal["average", "joint"] = "average",
        iterations: int = 100,
    ) -> PLDA:
        """Learn from embeddings whose speakers are known, each with the same weight.

        Args:
            learnt_from: the embeddings; in float64 they are in memory twice.
            lda: turn to so many dimensions by linear discriminant analysis; None for all dimensions as they are.
            whitening: then make the total covariance the identity.
            length_normalisation: then bring embeddings to unit length.
            enrolment: what a model of several utterances is.
            iterations: of expectation-maximisation, at most; it ends where the likelihood stands still.

        Raises:
            TrialError: speakers are not known, or too few; there are too few utterances; LDA has more dimensions
                than there are; an embedding is not finite, or is the mean.
        """
        names, labels = learnt_from.labels()
        source = learnt_from.record.source
        vectors = learnt_from.vectors.astype(np.float64)
        dimensions = vectors.shape[1]
        if len(names) < 2 or np.bincount(labels).max() < 2:
            raise TrialError(
                f"{source}: {len(vectors):,} utterances of {len(names)} speakers are too few for PLDA, which learns "
                "how speakers differ from what one speaker's utterances do; give several of each of many speakers"
            )
        if lda is not None and not 1 <= lda <= min(dimensions, len(names) - 1):
            raise TrialError(
                f"{source}: LDA to {lda} dimensions, but embeddings of {dimensions} dimensions and {len(names):,} "
                f"speakers tell {min(dimensions, len(names) - 1)} at most"
            )
        if not np.isfinite(vectors).all():
            key = learnt_from.keys[int(np.isfinite(vectors).all(axis=1).argmin())]
            raise TrialError(
                f"{source}: the embedding of '{key}' is not finite; look at the recording and the model"
            )
        centre = vectors.mean(axis=0)
        vectors -= centre
        try:
            transform = _transform(vectors, labels, lda, whitening)
            vectors = vectors @ transform.T
            if length_normalisation:
                vectors = unit_length(vectors, learnt_from.keys, source)
            fit = TwoCovariance.fit(SpeakerStatistics.of(vectors, labels), iterations=iterations)
        except TrialError as error:
            raise TrialError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error
        record = PLDAScoring(
            **dict(learnt_from.record),
            speakers=len(names),
            lda=lda,
            whitening=whitening,
            length_normalisation=length_normalisation,
            iterations=len(fit.log_likelihoods) - 1,
        )
        return cls(
            centre, transform, fit.model, record, frozenset(learnt_from.keys), frozenset(names), enrolment
        )

    def sides(self, embedded: Embedded, mean: NDArray[np.floating[Any]] | None = None) -> Sides:
        """Rows of utterances and models.

        Args:
            embedded: utterances and models.
            mean: subtracted in place of the model's own centre, as of speech like that which is tested.

        Raises:
            TrialError: an embedding cannot be scored, or has another dimension.
        """
        if embedded.vectors.shape[1] != self.centre.size:
            raise TrialError(
                f"{embedded.where}: the embeddings have {embedded.vectors.shape[1]} dimensions, but PLDA was learnt "
                f"from {self.centre.size}; learn it from the same model's embeddings"
            )
        centre = self.centre if mean is None else mean
        utterances = len(embedded.vectors)
        if self.enrolment == "average":
            rows = self._turned(embedded.averaged(), embedded.names, embedded.where, centre)
            counts = np.ones(len(rows), dtype=np.int64)
            return self.model.sides(rows, counts, rows[:utterances])
        rows = self._turned(embedded.vectors.astype(np.float64), embedded.names, embedded.where, centre)
        sums = [rows, *(rows[members].sum(axis=0)[None] for members in embedded.models)]
        sizes = [1] * utterances + [len(members) for members in embedded.models]
        return self.model.sides(np.concatenate(sums), np.array(sizes, dtype=np.int64), rows)

    def write(self, path: str | Path, *, weights_sha256: str = "") -> None:
        """Write it as one file, atomically: arrays in NumPy's archive format, without pickled objects.

        Args:
            path: of the file.
            weights_sha256: of the model whose embeddings it was learnt from, where known.
        """
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                centre=self.centre,
                transform=self.transform,
                mean=self.model.mean,
                between=self.model.between,
                within=self.model.within,
                record=_bytes([self.record.model_dump_json()]),
                weights=_bytes([weights_sha256]),
                keys=_bytes(sorted(self.keys)),
                speakers=_bytes(sorted(self.speakers)),
            )

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        enrolment: Literal["average", "joint"] = "average",
        weights_sha256: str = "",
    ) -> PLDA:
        """Read what ``write`` wrote.

        Args:
            path: of the file.
            enrolment: what a model of several utterances is.
            weights_sha256: of the model whose embeddings it shall score, where known.

        Raises:
            TrialError: the file is missing, none of these, or of another model's embeddings.
        """
        try:
            with Path(path).open("rb") as file, np.load(file) as arrays:
                model = TwoCovariance(arrays["mean"], arrays["between"], arrays["within"])
                (record,), (theirs,) = _words(arrays["record"]), _words(arrays["weights"])
                plda = cls(
                    arrays["centre"],
                    arrays["transform"],
                    model,
                    PLDAScoring.model_validate_json(record),
                    frozenset(_words(arrays["keys"])),
                    frozenset(_words(arrays["speakers"])),
                    enrolment,
                )
            plda.model.sides(plda.model.mean[None], np.ones(1, np.int64), plda.model.mean[None])
            _ = plda.transform @ plda.centre + plda.model.mean
        except FileNotFoundError as error:
            raise TrialError(f"{path}: there is no such file") from error
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
            zlib.error,
            np.linalg.LinAlgError,
            ValidationError,
        ) as error:
            raise TrialError(f"{path}: not a PLDA of voxangle, or a broken one ({error})") from error
        if theirs and weights_sha256 and theirs != weights_sha256:
            raise TrialError(
                f"{path}: was learnt from embeddings of another model (weights {theirs[:12]}, not "
                f"{weights_sha256[:12]}), and says nothing of this one's; learn it anew"
            )
        return plda

    def _turned(
        self,
        vectors: NDArray[np.float64],
        names: Sequence[str],
        where: str,
        centre: NDArray[np.floating[Any]],
    ) -> NDArray[np.float64]:
        """Centred, turned and of unit length: shape (K, P)."""
        vectors, rounding = centred(vectors, centre, where)
        checked = unit_length(vectors, names, where, rounding)
        if not self.record.length_normalisation:
            return vectors @ self.transform.T
        return unit_length(checked @ self.transform.T, names, where)


def _transform(
    centred_vectors: NDArray[np.float64], labels: NDArray[np.int64], lda: int | None, whitening: bool
) -> NDArray[np.float64]:
    """Shape (P, D): linear discriminant analysis, then whitening, of what is asked for."""
    transform = np.eye(centred_vectors.shape[1])
    if lda is not None:
        # The axes along which speakers differ most beside what one speaker does, there of variance 1.
        transform = SpeakerStatistics.of(centred_vectors, labels).moments().axes[:lda]
    if whitening:
        turned = centred_vectors @ transform.T
        variances, directions = np.linalg.eigh(turned.T @ turned / len(turned))
        if variances[0] <= _SINGULAR * variances[-1]:
            raise TrialError(
                "the embeddings vary in fewer dimensions than they have and cannot be whitened; turn to fewer "
                "dimensions by LDA, or leave whitening out"
            )
        transform = (directions / np.sqrt(variances)).T @ transform
    return transform


def _bytes(words: Sequence[str]) -> NDArray[np.uint8]:
    # An array of strings is as wide as the longest.
    return np.frombuffer("".join(f"{word}\n" for word in words).encode(), np.uint8)


def _words(array: NDArray[np.uint8]) -> list[str]:
    return array.tobytes().decode().removesuffix("\n").split("\n")
