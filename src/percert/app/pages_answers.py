"""What the forms of the pages answer at once: fragments for htmx, whole pages without it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from percert.app.api_questions import Many
from percert.app.audit_answer import AskedAudit, AuditQuestion, audit
from percert.app.bench import Bench
from percert.app.desk import AtDesk, Desk
from percert.app.interval_bar import bar_of
from percert.app.pages import page
from percert.app.pair_answer import answer_pair
from percert.app.questions import AskedPair, AskedTriplet, Eps, ImageFile, Threshold
from percert.app.search_answer import answer_copies, answer_nearest
from percert.app.templates import environment
from percert.app.triplet_answer import answer_triplet
from percert.app.uploads import Upload, upload_of
from percert.reports.page import Section

router = APIRouter(prefix="/ui")


async def shown(
    request: Request, desk: Desk, path: str, template: str, values: dict[str, Any]
) -> Response:
    """The answer alone for htmx; inside its page for a browser that runs no scripts."""
    fragment = environment().get_template(template).render(values)
    if "hx-request" in request.headers:
        return Response(fragment, media_type="text/html")
    return await page(desk, path, result=fragment)


@router.post("/compare")
async def compare(request: Request, desk: AtDesk, asked: AskedPair) -> Response:
    """Distance, interval, verdict and slider."""
    answer = await desk.ask(answer_pair, asked)
    values = {"answer": answer, "bar": bar_of(answer)}
    return await shown(request, desk, "/", "compare_answer.html", values)


@router.post("/judge")
async def judge(request: Request, desk: AtDesk, asked: AskedTriplet) -> Response:
    """The closer one, and how far that stands."""
    answer = await desk.ask(answer_triplet, asked)
    proven = any(one.radius is not None for one in answer.standings)
    values = {"answer": answer, "proven": proven}
    return await shown(request, desk, "/judge", "judge_answer.html", values)


@router.post("/search")
async def search(
    request: Request,
    desk: AtDesk,
    image: ImageFile,
    k: Many = 10,
    eps: Eps = None,
    threshold: Threshold = None,
) -> Response:
    """The nearest stored images, and the copies among all."""
    upload = upload_of(image, "query")
    values = await desk.ask(_search, upload, k, eps, threshold)
    return await shown(request, desk, "/search", "search_answer.html", values)


def _search(
    bench: Bench, upload: Upload, k: int, eps: float | None, threshold: float | None
) -> dict[str, Any]:
    nearest = answer_nearest(bench, upload, k, eps)
    return {"nearest": nearest, "copies": _copies(bench, upload, threshold, eps)}


def _copies(
    bench: Bench, upload: Upload, threshold: float | None, eps: float | None
) -> dict[str, Any] | None:
    try:
        return answer_copies(bench, upload, threshold, eps)
    except ValueError:
        if threshold is not None:
            raise
        return None  # a metric that recommends no threshold


@router.post("/audit")
async def audit_page(request: Request, desk: AtDesk, asked: AskedAudit) -> Response:
    """The fairness report."""
    sections = await desk.ask(_sections, asked)
    return await shown(request, desk, "/audit", "audit_answer.html", {"sections": sections})


def _sections(bench: Bench, asked: AuditQuestion) -> list[Section]:
    found = audit(bench, asked)
    # Imported here: it draws with matplotlib, which servers without an audit may do without.
    from percert.fairness.report import report_sections

    return report_sections(found)
