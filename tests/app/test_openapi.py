"""The interface does what its description says, whatever is sent: schemathesis against OpenAPI."""

import pytest
from hypothesis import HealthCheck, Phase, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from schemathesis import checks

#: That a random file is no image is not an error of the interface, so acceptance is not checked.
CHECKED = (
    checks.not_a_server_error,
    schemathesis.specs.openapi.checks.status_code_conformance,
    schemathesis.specs.openapi.checks.content_type_conformance,
    schemathesis.specs.openapi.checks.response_schema_conformance,
    schemathesis.specs.openapi.checks.unsupported_method,
)


@pytest.fixture(scope="module")
def described(address):
    return schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_address_answers_as_it_says(case):
    if case.path.endswith("/events") and case.method == "POST":
        return
    case.call_and_validate(checks=CHECKED)


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
            "copies",
            "health",
            "jobs/{job_id}",
            "jobs/{job_id}/events",
            "jobs/{job_id}/pictures/{name}",
            "judge",
            "judge/attack",
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
