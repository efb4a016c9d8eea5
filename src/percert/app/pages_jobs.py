"""Attacks on the pages: started by a form, watched through a stream of events, cancelled."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from percert.app.api_jobs import (
    AttackText,
    ModelName,
    Target,
    Times,
    start_classifier,
    start_pair,
    start_triplet,
    stream,
)
from percert.app.desk import AtDesk, Desk
from percert.app.job import Job
from percert.app.job_view import view
from percert.app.pages import page
from percert.app.questions import AskedPair, AskedTriplet, ImageFile
from percert.app.templates import environment
from percert.app.uploads import upload_of

router = APIRouter(prefix="/ui")

#: The page that a kind of job belongs to.
HOME = {"compare": "/", "judge": "/judge", "attack": "/attack"}


@router.post("/compare/attack")
async def attack_compare(request: Request, desk: AtDesk, asked: AskedPair) -> Response:
    """Attack the comparison at the eps of the slider."""
    return await _shown(request, desk, await start_pair(desk, asked))


@router.post("/judge/attack")
async def attack_judge(
    request: Request, desk: AtDesk, asked: AskedTriplet, times: Times = 2.0
) -> Response:
    """Attack the judgement inside and outside of its radius."""
    return await _shown(request, desk, await start_triplet(desk, asked, times))


@router.post("/attack")
async def attack(
    request: Request,
    desk: AtDesk,
    image: ImageFile,
    attack: AttackText = "ascent",
    settings: AttackText = "",
    model: ModelName = "",
    target: Target = None,
) -> Response:
    """Attack a classifier."""
    text = f"{attack}:{settings}" if settings.strip() else attack
    job = await start_classifier(desk, upload_of(image, "image"), model, text, target)
    return await _shown(request, desk, job)


@router.get("/jobs/{job_id}")
async def job(request: Request, desk: AtDesk, job_id: str) -> Response:
    """A job as it is now."""
    return await _shown(request, desk, desk.jobs.find(job_id))


@router.post("/jobs/{job_id}/cancel")
async def cancel(request: Request, desk: AtDesk, job_id: str) -> Response:
    """Cancel a job, and show that."""
    found = desk.jobs.find(job_id)
    found.cancel()
    return await _shown(request, desk, found)


@router.get("/jobs/{job_id}/events")
async def job_events(request: Request, desk: AtDesk, job_id: str) -> Response:
    """The progress, as a piece of the page."""
    return stream(request, desk, job_id, _progress)


def _progress(job: Job) -> str:
    return environment().get_template("progress.html").render({"job": view(job)})


async def _shown(request: Request, desk: Desk, found: Job) -> Response:
    fragment = environment().get_template("job.html").render({"job": view(found)})
    if "hx-request" in request.headers:
        return Response(fragment, media_type="text/html")
    return await page(desk, HOME[found.kind], result=fragment)
