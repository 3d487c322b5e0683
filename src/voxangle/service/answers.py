"""What the service answers, as JSON: one typed model an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from voxangle.config import Config

__all__ = [
    "Candidate",
    "Deleted",
    "Embedded",
    "Enrolled",
    "Health",
    "Heard",
    "Identified",
    "Limits",
    "MeasuredList",
    "ModelInfo",
    "ScoreThreshold",
    "Streamed",
    "Verdict",
    "VerifiedVoice",
    "VoiceprintInfo",
    "VoiceprintList",
]

Seconds = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Health(Config):
    """Whether the process lives, or can work.

    Attributes:
        status: ``ok``, or ``ready``.
    """

    status: Literal["ok", "ready"]


class Limits(Config):
    """What a request may bring.

    Attributes:
        body_bytes: of a request.
        seconds: of a recording, decoded.
        speech_seconds: that a recording must have at least.
        recordings: in one enrolment.
        requests_per_minute: of a key.
    """

    body_bytes: int
    seconds: float
    speech_seconds: float
    recordings: int
    requests_per_minute: float


class ScoreThreshold(Config):
    """A threshold of the score that the model knows.

    Attributes:
        name: such as ``eer`` or ``far-1%``.
        value: of the cosine score.
        log_likelihood_ratio: the same threshold, in nats; null where there is no calibration, or one that counts more
            than the score.
        source: what it was set on, for a person to read.
        false_acceptance: share of different voices at or above it there; null if not known.
        false_rejection: share of same voices below it there; null if not known.
    """

    name: str
    value: float
    log_likelihood_ratio: float | None
    source: str
    false_acceptance: Share | None
    false_rejection: Share | None


class MeasuredList(Config):
    """How often the model errs on a list of trials, as its card says.

    Attributes:
        trials: name of the list.
        condition: what is spoken in it, for a person to read; null of a list that this service does not know.
        eer: equal error rate: share of different voices that are accepted, and of same voices that are rejected, at the
            threshold of the score where both are the same. Half is chance.
        low: lower end of its 95 % interval.
        high: its upper end.
        speakers: in the list.
        notes: what must be said wherever the figure is shown.
    """

    trials: str
    condition: str | None
    eer: Share
    low: Share
    high: Share
    speakers: int
    notes: tuple[str, ...]


class ModelInfo(Config):
    """What answers, and what it can be asked.

    Attributes:
        name: of the model.
        weights_sha256: of its weights.
        dimension: of its embeddings.
        calibration: what its log-likelihood ratios were fitted on; null where it has none.
        thresholds: of the score; the first is meant where there is no calibration.
        measured: on lists of trials, in the order of the card; empty where nothing was.
        hears: what tells speech from other sound: ``silero-vad``, or ``level`` where that is not installed.
        tells_voices: whether a recording with two voices, one after the other, is refused; that takes a calibration.
        limits: what a request may bring.
        version: of voxangle.
    """

    name: str
    weights_sha256: str
    dimension: int
    calibration: str | None
    thresholds: tuple[ScoreThreshold, ...]
    measured: tuple[MeasuredList, ...]
    hears: Literal["silero-vad", "level"]
    tells_voices: bool
    limits: Limits
    version: str


class Heard(Config):
    """What was measured of a recording.

    Attributes:
        seconds: its duration.
        speech: seconds of speech in it.
        clipping: share of samples in flat tops.
        above_4khz: power above 4 kHz against that below, in dB.
        magnitude: Euclidean norm of its embedding.
        sample_rate: of the upload, in Hz.
        format: container and coding of the upload, such as ``WAV PCM_16``.
    """

    seconds: Seconds
    speech: Seconds
    clipping: Share
    above_4khz: float
    magnitude: float
    sample_rate: int
    format: str


class Embedded(Config):
    """An embedding.

    Attributes:
        embedding: D numbers, not of unit length.
        recordings: what was measured of the one recording.
        model: its name.
        weights_sha256: of the model; embeddings of two models cannot be compared.
        notes: where the recording is unlike those that the model was calibrated on.
    """

    embedding: tuple[float, ...]
    recordings: tuple[Heard, ...]
    model: str
    weights_sha256: str
    notes: tuple[str, ...]


class Verdict(Config):
    """Whether two voices are one.

    Attributes:
        score: cosine of the two embeddings.
        log_likelihood_ratio: in nats; null where the model has no calibration.
        probability: of one voice at the prior; null where the model has no calibration.
        prior: of one voice, before anything is heard.
        c_miss: cost of calling one voice two.
        c_fa: cost of calling two voices one.
        same_voice: the decision; null where the model has neither a calibration nor a threshold.
        decided_by: what was compared with the threshold.
        threshold: from which on it is one voice.
        threshold_name: ``bayes``, or one of the model's.
        threshold_source: where it comes from, for a person to read.
        recordings: what was measured of the recordings sent, in their order.
        model: its name.
        notes: where a recording is unlike those that the model was calibrated on.
    """

    score: float
    log_likelihood_ratio: float | None
    probability: Share | None
    prior: float
    c_miss: float
    c_fa: float
    same_voice: bool | None
    decided_by: Literal["log_likelihood_ratio", "score"] | None
    threshold: float | None
    threshold_name: str | None
    threshold_source: str
    recordings: tuple[Heard, ...]
    model: str
    notes: tuple[str, ...]


class VoiceprintInfo(Config):
    """What is said of a voiceprint; its vectors never leave the store by this service.

    Attributes:
        id: 32 hex digits, which say nothing of the person.
        name: as enrolled.
        model: name of the model it was made with.
        weights_sha256: of that model (with ``-int8`` behind it where it is quantised).
        usable: whether that is the model that runs here; it is compared only then.
        recordings: that it is made of.
        sound: seconds that sound in all of them; the speech in it is less.
        created: when it was enrolled.
        updated: when a recording was last added.
    """

    id: str
    name: str
    model: str
    weights_sha256: str
    usable: bool
    recordings: int
    sound: Seconds
    created: datetime
    updated: datetime


class Enrolled(Config):
    """An enrolment that is on disk.

    Attributes:
        voiceprint: as it is now.
        recordings: what was measured of the recordings sent, in their order.
        notes: what could be better, for a person to read.
    """

    voiceprint: VoiceprintInfo
    recordings: tuple[Heard, ...]
    notes: tuple[str, ...]


class VoiceprintList(Config):
    """Voiceprints.

    Attributes:
        voiceprints: by name.
        after: what to ask for to get the next page; null where there is none.
    """

    voiceprints: tuple[VoiceprintInfo, ...]
    after: str | None


class VerifiedVoice(Verdict):
    """Whether a recording is of the voice it is claimed to be.

    Attributes:
        voiceprint: id of the claimed one.
        name: of the claimed one.
    """

    voiceprint: str
    name: str


class Candidate(Config):
    """One of those whom a voice is most like.

    Attributes:
        voiceprint: its id.
        name: its name.
        score: cosine.
        log_likelihood_ratio: in nats; null where the model has no calibration.
        probability: that it is this one among all enrolled and nobody of them; null where there is no calibration.
    """

    voiceprint: str
    name: str
    score: float
    log_likelihood_ratio: float | None
    probability: Share | None


class Identified(Config):
    """Who it is of those enrolled, or nobody.

    Attributes:
        voiceprint: id of the one it is; null for nobody who is enrolled, or where nothing can decide.
        name: of that one.
        decided: whether something could decide; where not, the notes say why.
        candidates: the most alike, best first, whatever the decision.
        nobody: probability that it is nobody who is enrolled; null where the model has no calibration.
        prior: that it is somebody enrolled, before anything is heard.
        c_miss: cost of naming nobody instead of somebody.
        c_fa: cost of naming somebody instead of nobody.
        decided_by: what was compared with the threshold.
        threshold: from which on the best candidate is named.
        threshold_name: ``bayes``, or one of the model's.
        threshold_source: where it comes from, for a person to read.
        enrolled: with how many it was compared.
        left_out: how many voiceprints of other models were not compared.
        recordings: what was measured of the one recording.
        model: its name.
        notes: what else is to be said.
    """

    voiceprint: str | None
    name: str | None
    decided: bool
    candidates: tuple[Candidate, ...]
    nobody: Share | None
    prior: float
    c_miss: float
    c_fa: float
    decided_by: Literal["log_likelihood_ratio", "score"] | None
    threshold: float | None
    threshold_name: str | None
    threshold_source: str
    enrolled: int
    left_out: int
    recordings: tuple[Heard, ...]
    model: str
    notes: tuple[str, ...]


class Streamed(Config):
    """What is known while a stream goes on.

    Attributes:
        seconds: received.
        speech: seconds of speech among them.
        verdict: of all that was received; null until there is enough speech.
        waiting_for: what is missing for a verdict, for a person to read; null with a verdict.
        final: whether the stream is over.
    """

    seconds: Seconds
    speech: Seconds
    verdict: VerifiedVoice | None
    waiting_for: str | None
    final: bool


class Deleted(Config):
    """What is gone for good.

    Attributes:
        deleted: ids of the voiceprints.
    """

    deleted: tuple[str, ...]
