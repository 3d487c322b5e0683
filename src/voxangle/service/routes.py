"""The routes of version 1."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from voxangle import __version__
from voxangle.errors import NameTakenError, OtherModelError, UnknownVoiceprintError
from voxangle.runtime.card import choose_threshold
from voxangle.runtime.decision import decide
from voxangle.service.access import Caller
from voxangle.service.answers import (
    Deleted,
    Embedded,
    Enrolled,
    Health,
    Identified,
    Limits,
    ModelInfo,
    ScoreThreshold,
    Verdict,
    VerifiedVoice,
    VoiceprintInfo,
    VoiceprintList,
)
from voxangle.service.asked import Add, Identify, Name, Rule, Verify
from voxangle.service.hearing import HeardRecording
from voxangle.service.keys import Scope
from voxangle.service.meters import CONTENT_TYPE
from voxangle.service.problems import MEDIA_TYPE, ProblemError
from voxangle.service.service import Service
from voxangle.service.stated import identified, info, measured, verdict, verified
from voxangle.service.uploads import Upload, read_upload, request_body
from voxangle.voiceprints.enrolment import cosine
from voxangle.voiceprints.enrolment import enrol as enrol_recordings
from voxangle.voiceprints.identification import identify as identify_recording
from voxangle.voiceprints.names import new_person
from voxangle.voiceprints.verification import verify as verify_recording

__all__ = ["router"]

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key of `voxangle serve keys create`; none is needed where it says `--open`.",
)
_PROBLEM = {
    "description": "A problem (RFC 9457); its code says which.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM, "5XX": _PROBLEM}
_THE_RECORDING = {"recording": "The recording: wav, flac, ogg, opus, mp3, webm or m4a."}

router = APIRouter(prefix="/v1", responses=_PROBLEMS)


async def _service_of(request: Request) -> Service:
    """The service that answers; a coroutine, for others are run in a thread."""
    service: Service = request.app.state.service
    return service


Decides = TypeVar("Decides", bound=Rule)
TheService = Annotated[Service, Depends(_service_of)]


def _needs(scope: Scope | None) -> Callable[..., Awaitable[Caller]]:
    async def check(
        request: Request,
        service: TheService,
        sent: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        caller = service.access.check(sent.credentials if sent else None, scope)
        request.state.entries["key"] = caller.key
        return caller

    return check


AnyKey = Annotated[Caller, Depends(_needs(None))]
MayEmbed = Annotated[Caller, Depends(_needs(Scope.EMBED))]
MayScore = Annotated[Caller, Depends(_needs(Scope.SCORE))]
MayEnrol = Annotated[Caller, Depends(_needs(Scope.ENROL))]
MayVerify = Annotated[Caller, Depends(_needs(Scope.VERIFY))]
MayIdentify = Annotated[Caller, Depends(_needs(Scope.IDENTIFY))]
MayDelete = Annotated[Caller, Depends(_needs(Scope.DELETE))]
MayMeter = Annotated[Caller, Depends(_needs(Scope.METRICS))]
IsAdmin = Annotated[Caller, Depends(_needs(Scope.ADMIN))]


@router.get("/health", tags=["service"])
async def health() -> Health:
    """The process lives. Needs no key."""
    return Health(status="ok")


@router.get("/ready", tags=["service"])
async def ready(service: TheService) -> Health:
    """Requests can be answered: the model, the decoders and the store work. Needs no key."""
    await service.check_ready()
    return Health(status="ready")


@router.get(
    "/metrics",
    tags=["service"],
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(service: TheService, _: MayMeter) -> Response:
    """Counters for Prometheus."""
    return Response(service.meters.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/model", tags=["service"])
async def model(service: TheService, _: AnyKey) -> ModelInfo:
    """What answers, its thresholds with their error rates, and the limits of a request. Any key will do."""
    card, settings = service.embedder.card, service.settings
    fit = card.calibration
    return ModelInfo(
        name=card.name,
        weights_sha256=service.model.id,
        dimension=service.embedder.dimension,
        calibration=fit and fit.source,
        thresholds=tuple(
            ScoreThreshold(**one.model_dump(), log_likelihood_ratio=fit and fit.place_of(one))
            for one in card.thresholds
        ),
        measured=measured(card),
        hears=service.hears,
        tells_voices=settings.check_voices and fit is not None,
        limits=Limits(
            body_bytes=settings.body_bytes,
            seconds=settings.seconds,
            speech_seconds=settings.speech_seconds,
            recordings=settings.recordings,
            requests_per_minute=settings.requests_per_minute,
        ),
        version=__version__,
    )


@router.post("/embed", tags=["voices"], openapi_extra=request_body(_THE_RECORDING, {}, raw=True))
async def embed(request: Request, service: TheService, _: MayEmbed) -> Embedded:
    """The embedding of a recording."""
    async with service.room():
        upload = await read_upload(request, fields=frozenset(), files=frozenset(_THE_RECORDING), most=1)
        (heard,) = await _heard(request, service, upload)
    return Embedded(
        embedding=tuple(heard.recording.vector.tolist()),
        recordings=(heard.heard,),
        model=service.embedder.card.name,
        weights_sha256=service.model.id,
        notes=heard.notes,
    )


_TWO = {"first": "A recording.", "second": "Another recording."}


@router.post("/score", tags=["voices"], openapi_extra=request_body(_TWO, Rule.schemas(), raw=False))
async def score(
    request: Request, service: TheService, _: MayScore, asked: Annotated[Rule, Query()]
) -> Verdict:
    """Whether two recordings are of one voice. Nothing is stored."""
    async with service.room():
        rule, upload = await _read(request, service, asked, _TWO)
        by_field = dict(upload.recordings)
        if set(by_field) != set(_TWO):
            raise ProblemError(
                "missing-recording",
                "Two recordings are compared.",
                "Send a form with the files 'first' and 'second'.",
            )
        ordered = Upload([(field, by_field[field]) for field in _TWO], {})
        heard = await _heard(request, service, ordered)
    a, b = (one.recording for one in heard)
    cosine_score = cosine(a.vector, b.vector)
    fit = service.embedder.card.calibration
    ratio = None if fit is None else fit.log_likelihood_ratio(cosine_score, a.measures, b.measures)
    decision = decide(service.embedder.card, cosine_score, ratio, rule.bayes, rule.threshold)
    _count(service, "score", decision.same_voice)
    return verdict(cosine_score, ratio, rule.bayes, decision, heard, service.embedder.card.name)


_SEVERAL = {"recordings": "One or more recordings of one person, each a file of this name."}


@router.post(
    "/enrol",
    tags=["voiceprints"],
    status_code=201,
    openapi_extra=request_body(_SEVERAL, Add.schemas(), raw=True, many=True),
)
async def enrol(
    request: Request, service: TheService, caller: MayEnrol, asked: Annotated[Add, Query()]
) -> Enrolled:
    """Enrol a person with one or more recordings, or add to a voiceprint. Answered once it is on disk."""
    async with service.room():
        upload = await read_upload(
            request,
            fields=frozenset(Add.model_fields),
            files=frozenset(_SEVERAL),
            most=service.settings.recordings,
        )
        asked = asked.joined(upload.fields)
        name = _named(asked.name)
        await asyncio.to_thread(_check_enrolment, service, name, asked.add)
        heard = await _heard(request, service, upload)
        done = await asyncio.to_thread(
            enrol_recordings,
            service.store,
            service.embedder,
            name,
            [one.recording for one in heard],
            actor=_actor(caller),
            add=asked.add,
        )
    notes = (*done.warnings, *(note for one in heard for note in one.notes))
    return Enrolled(
        voiceprint=info(done.entry, service.model), recordings=tuple(one.heard for one in heard), notes=notes
    )


@router.post(
    "/verify", tags=["voiceprints"], openapi_extra=request_body(_THE_RECORDING, Verify.schemas(), raw=True)
)
async def verify(
    request: Request, service: TheService, caller: MayVerify, asked: Annotated[Verify, Query()]
) -> VerifiedVoice:
    """Whether a recording is of the person whom it claims to be of."""
    async with service.room():
        asked, upload = await _read(request, service, asked, _THE_RECORDING)
        name = _named(asked.name)
        await asyncio.to_thread(service.store.get, name, service.model)  # who is not there costs no work
        (heard,) = await _heard(request, service, upload)
        found = await asyncio.to_thread(
            verify_recording,
            service.store,
            service.embedder,
            name,
            heard.recording,
            actor=_actor(caller),
            rule=asked.bayes,
            threshold=asked.threshold,
        )
    _count(service, "verify", found.decision.same_voice)
    return verified(found, heard)


@router.post(
    "/identify",
    tags=["voiceprints"],
    openapi_extra=request_body(_THE_RECORDING, Identify.schemas(), raw=True),
)
async def identify(
    request: Request, service: TheService, caller: MayIdentify, asked: Annotated[Identify, Query()]
) -> Identified:
    """Whose voice it is of those enrolled, or nobody's."""
    async with service.room():
        asked, upload = await _read(request, service, asked, _THE_RECORDING)
        (heard,) = await _heard(request, service, upload)
        found = await asyncio.to_thread(
            identify_recording,
            service.store,
            service.embedder,
            heard.recording,
            actor=_actor(caller),
            top=asked.top,
            rule=asked.bayes,
            threshold=asked.threshold,
        )
    _count(service, "identify", found.who is not None if found.decided else None)
    return identified(found, heard, service.embedder.card.name)


@router.get("/voiceprints", tags=["voiceprints"])
async def list_voiceprints(
    service: TheService,
    _: IsAdmin,
    after: Annotated[Name | None, Query(description="Only names behind this one: the next page.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> VoiceprintList:
    """Voiceprints of the model that runs, by name, page by page."""
    entries = await asyncio.to_thread(service.store.entries, model=service.model, after=after, limit=limit)
    return VoiceprintList(
        voiceprints=tuple(info(one, service.model) for one in entries),
        after=entries[-1].name if len(entries) == limit else None,
    )


@router.get("/voiceprint", tags=["voiceprints"])
async def show_voiceprint(service: TheService, _: IsAdmin, name: Annotated[Name, Query()]) -> VoiceprintList:
    """All voiceprints of a name, one a model."""
    prints = await asyncio.to_thread(service.store.named, name)
    found: tuple[VoiceprintInfo, ...] = tuple(info(one.entry, service.model) for one in prints)
    return VoiceprintList(voiceprints=found, after=None)


@router.delete("/voiceprint", tags=["voiceprints"])
async def delete_voiceprint(
    service: TheService, caller: MayDelete, name: Annotated[Name, Query()]
) -> Deleted:
    """Forget a person: all voiceprints of the name, with vectors and references, for good."""
    entries = await asyncio.to_thread(service.store.delete, [name], actor=_actor(caller))
    return Deleted(deleted=tuple(one.id for one in entries))


async def _read(
    request: Request, service: Service, asked: Decides, files: dict[str, str]
) -> tuple[Decides, Upload]:
    """What is to be decided, by address and form together, and the body."""
    fields = frozenset(type(asked).model_fields)
    upload = await read_upload(request, fields=fields, files=frozenset(files), most=len(files))
    asked = asked.joined(upload.fields)
    choose_threshold(service.embedder.card, asked.threshold)  # a name that is not known costs no work
    return asked, upload


async def _heard(request: Request, service: Service, upload: Upload) -> list[HeardRecording]:
    """Recordings heard, and what of it is to be logged."""
    began = time.perf_counter()
    heard = await service.ear.hear([content for _, content in upload.recordings])
    request.state.entries["hearing_seconds"] = round(time.perf_counter() - began, 4)
    request.state.entries["audio_seconds"] = round(float(np.sum([one.heard.seconds for one in heard])), 2)
    return heard


def _named(name: str | None) -> str:
    if name is None:
        raise ProblemError("bad-parameter", "`name` is missing.", "Say whom it is about with `name`.")
    return name


def _check_enrolment(service: Service, name: str, add: bool) -> None:
    """Refuse, before anything is decoded, what the store would refuse; it looks again when it writes."""
    try:
        service.store.get(new_person(name) if not add else name, service.model)
    except (UnknownVoiceprintError, OtherModelError):
        if add:
            raise
    else:
        if not add:
            raise NameTakenError(f"'{name}' is enrolled already")


def _actor(caller: Caller) -> str:
    return f"key:{caller.key}"


def _count(service: Service, route: str, same: bool | None) -> None:
    service.meters.decisions.labels(route, {True: "yes", False: "no", None: "undecided"}[same]).inc()
