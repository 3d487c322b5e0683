"""The application that a server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from voxangle import __version__
from voxangle.service.gate import Gate
from voxangle.service.misfits import misfit
from voxangle.service.page import router as page_router
from voxangle.service.problems import Problem, ProblemError
from voxangle.service.routes import router
from voxangle.service.service import Service
from voxangle.service.stream import router as stream_router

__all__ = ["create_app"]


def create_app(service: Service) -> FastAPI:
    """The application of a service.

    Args:
        service: that answers.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="voxangle",
        version=__version__,
        description="Is this the same voice? Speaker verification with calibrated likelihood ratios.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load their programs from foreign hosts
        redoc_url=None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0"},
    )
    app.state.service = service
    app.include_router(router)
    app.include_router(stream_router)
    app.include_router(page_router)
    app.add_middleware(Gate, service=service)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    _describe_problems(app)
    return app


async def _invalid(_: Request, error: Exception) -> Any:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it was registered for
    first = error.errors()[0]
    raise misfit(first, first["loc"][1:]) from None  # behind whether it stands in the address or in a header


async def _refused(_: Request, error: Exception) -> Any:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it was registered for
    if error.status_code == 404:
        raise ProblemError(
            "no-such-route", "Nothing is served here.", "See /v1/openapi.json for the routes."
        ) from None
    if error.status_code == 405:
        raise ProblemError(
            "wrong-method",
            "The route does not know this method.",
            "See /v1/openapi.json for the methods.",
            allow=(error.headers or {}).get("Allow"),
        ) from None
    raise ProblemError("bad-request", "The request cannot be read.", "See /v1/openapi.json.") from None


def _describe_problems(app: FastAPI) -> None:
    """Problems in the OpenAPI description: no route returns one as its own answer, so nothing else adds them."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        content = described()
        content["components"]["schemas"].setdefault("Problem", Problem.model_json_schema())
        return content

    # As FastAPI documents it.
    app.openapi = openapi  # type: ignore[method-assign]
