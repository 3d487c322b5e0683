"""The service against its own description: every route answers as the OpenAPI says it does."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.service.conftest import Running
from tests.service.toys import PATIENCE
from voxangle.service.keys import Scope

schemathesis = pytest.importorskip("schemathesis")


def test_every_route_is_described_with_its_problems(running: Running, client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert "Problem" in described["components"]["schemas"]
    for path, methods in described["paths"].items():
        assert path.startswith("/v1/")
        for operation in methods.values():
            for status in ("4XX", "5XX"):
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
            needs_key = path not in {"/v1/health", "/v1/ready"}
            assert bool(operation.get("security")) is needs_key
            assert operation["description"]


def test_answers_are_as_described(running: Running) -> None:
    # That bytes are "binary" makes no recording of them: those are rightly refused with 422.
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_url(f"{running.address}/v1/openapi.json")
    headers = {"Authorization": f"Bearer {running.texts[Scope.ADMIN]}"}

    for operation in schema.get_all_operations():

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.ok().as_strategy())
        def check(case: object) -> None:
            case.call_and_validate(  # type: ignore[attr-defined]
                headers=headers, excluded_checks=[positive_data_acceptance], timeout=PATIENCE
            )

        check()
