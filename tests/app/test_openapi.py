"""The interface does what its description says, whatever is sent: schemathesis against OpenAPI."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

general = pytest.importorskip("schemathesis.checks")
described_by = pytest.importorskip("schemathesis.specs.openapi.checks")

#: That a random file is no image is not an error of the interface, so acceptance is not checked.
CHECKED = (
    general.not_a_server_error,
    described_by.status_code_conformance,
    described_by.content_type_conformance,
    described_by.response_schema_conformance,
)


def test_every_address_answers_as_it_says(address):
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        def answers(case):
            case.call_and_validate(checks=CHECKED)
            tried.append(case.path)

        answers()
    assert len(set(tried)) == 16


def test_every_address_is_described(serve):
    client = serve()
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert sorted(paths) == [
        f"/api/v1/{path}"
        for path in (
            "about",
            "attack",
            "audit",
            "compare",
            "compare/attack",
            "compare/edits",
            "copies",
            "health",
            "jobs/{job_id}",
            "jobs/{job_id}/events",
            "jobs/{job_id}/pictures/{name}",
            "judge",
            "judge/attack",
            "judge/edits",
            "search",
            "store/picture",
        )
    ]
    for path, methods in paths.items():
        for method, described in methods.items():
            assert described["summary"], (method, path)
            assert "422" in described["responses"]
            answer = described["responses"]["422"]["content"]["application/json"]["schema"]
            assert answer == {"$ref": "#/components/schemas/Problem"}
