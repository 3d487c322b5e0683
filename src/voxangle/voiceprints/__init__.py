"""Voiceprints: enrolled, verified, identified, forgotten. Nothing in this room imports torch."""

from voxangle.voiceprints.enrolment import Enrolled, EnrolmentRules, Findings, check_recordings, enrol
from voxangle.voiceprints.hearing import hear_files, take_heard
from voxangle.voiceprints.identification import Candidate, Identification, identify
from voxangle.voiceprints.opening import default_place, open_store
from voxangle.voiceprints.recordings import take_files, take_waveforms
from voxangle.voiceprints.store import (
    AuditEvent,
    Entry,
    Found,
    Model,
    Neighbour,
    Recording,
    Reference,
    Voiceprint,
    VoiceprintStore,
)
from voxangle.voiceprints.verification import Verification, verify

__all__ = [
    "AuditEvent",
    "Candidate",
    "Enrolled",
    "EnrolmentRules",
    "Entry",
    "Findings",
    "Found",
    "Identification",
    "Model",
    "Neighbour",
    "Recording",
    "Reference",
    "Verification",
    "Voiceprint",
    "VoiceprintStore",
    "check_recordings",
    "default_place",
    "enrol",
    "hear_files",
    "identify",
    "open_store",
    "take_files",
    "take_heard",
    "take_waveforms",
    "verify",
]
