"""Attacks on the pages: started by a form, watched through a stream of events, cancelled.

Every job has an address: a reload there finds it, running or done.
"""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from percert.app.answers.attack import class_names, wanted_class
from percert.app.answers.compare import PairQuestion, answer_pair
from percert.app.answers.judge import TripletQuestion, answer_triplet
from percert.app.api import Eps, ImageFile
from percert.app.api_jobs import (
    AttackText,
    ModelName,
    Times,
    start_classifier,
    start_pair,
    start_triplet,
    stream,
)
from percert.app.context import Context, ServerContext
from percert.app.errors import Refused
from percert.app.images import Upload, upload_of
from percert.app.jobs import Job, view
from percert.app.page_answers import pair_fragment, scale_words, triplet_fragment
from percert.app.pages import CAT, attack_text, attack_values, example_image, page
from percert.app.templates import environment, render, scale_of

router = APIRouter(prefix="/ui")

#: The page that a kind of job belongs to.
HOME = {"compare": "/", "judge": "/judge", "attack": "/attack"}
#: A class by its number or name.
ClassText = Annotated[str, Form(max_length=200)]


@router.post("/compare/{kept_id}/attack")
async def attack_compare(
    request: Request, desk: Context, kept_id: str, eps: Eps = None
) -> Response:
    """Attack the comparison that was answered, with its own images, within ``eps``."""
    asked = desk.answers.find(kept_id, PairQuestion)
    asked = asked if eps is None else replace(asked, eps=eps)
    job = await start_pair(desk, asked)
    job.answer, job.question = kept_id, asked
    return _started(request, job, desk)


@router.post("/judge/{kept_id}/attack")
async def attack_judge(
    request: Request, desk: Context, kept_id: str, times: Times = 2.0
) -> Response:
    """Attack the judgement that was answered inside and outside of its radius."""
    asked = desk.answers.find(kept_id, TripletQuestion)
    job = await start_triplet(desk, asked, times)
    job.answer, job.question = kept_id, asked
    return _started(request, job, desk)


@router.post("/attack")
async def attack(
    request: Request,
    desk: Context,
    image: ImageFile,
    attack: AttackText = "ascent",
    model: ModelName = "",
    target: ClassText = "",
) -> Response:
    """Attack a classifier, with the settings in the form's other fields."""
    form = await request.form()
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        text = attack_text(attack, given)
    except ValueError as error:
        raise Refused(422, str(error)) from None
    return await _attack(request, desk, upload_of(image, "image"), model, text, target)


@router.post("/attack/example")
async def attack_example(request: Request, desk: Context) -> Response:
    """Attack the first classifier on a photograph that comes with percert."""
    return await _attack(request, desk, example_image(CAT), "", "ascent", "")


@router.get("/attack/settings")
async def attack_settings(desk: Context, attack: str = "") -> Response:
    """The fields of an attack."""
    return render("attack_settings.html", attack_values(desk, attack))


@router.get("/attack/classes")
async def attack_classes(desk: Context, model: str = "") -> Response:
    """The names of a classifier's classes, to choose from."""
    names = await desk.ask(class_names, desk.loaded.classifier_name(model))
    return render("attack_classes.html", {"class_names": names})


async def _attack(
    request: Request, desk: ServerContext, image: Upload, model: str, text: str, target: str
) -> Response:
    name = desk.loaded.classifier_name(model)
    wanted = await desk.ask(wanted_class, name, target) if target.strip() else None
    job = await start_classifier(desk, image, name, text, wanted)
    return _started(request, job, desk)


@router.get("/jobs/{job_id}")
async def job(request: Request, desk: Context, job_id: str) -> Response:
    """A job as it is now; in its page, below the answer that it attacks."""
    found = desk.jobs.find(job_id)
    if "hx-request" in request.headers:
        return Response(_fragment(desk, found), media_type="text/html")
    fragment = await _with_answer(desk, found)
    return await page(
        request, desk, HOME[found.kind], result=fragment, again=None if found.over else 3
    )


@router.post("/jobs/{job_id}/cancel")
async def cancel(request: Request, desk: Context, job_id: str) -> Response:
    """Cancel a job, and show that."""
    found = desk.jobs.find(job_id)
    found.cancel()
    return _started(request, found, desk)


@router.get("/jobs/{job_id}/events")
async def job_events(request: Request, desk: Context, job_id: str) -> Response:
    """The progress, as a piece of the page."""
    return stream(request, desk, job_id, _progress)


def _progress(job: Job) -> str:
    return environment().get_template("progress.html").render({"job": view(job)})


def _started(request: Request, job: Job, desk: ServerContext) -> Response:
    """The job alone for htmx; a browser without scripts is sent to its address."""
    if "hx-request" in request.headers:
        return Response(_fragment(desk, job), media_type="text/html")
    return RedirectResponse(f"/ui/jobs/{job.id}", 303)


def _fragment(desk: ServerContext, job: Job) -> str:
    seen = view(job)
    values: dict[str, Any] = {"job": seen, "scale": None, "scale_words": ""}
    if job.state == "done" and job.kind == "compare":
        scale = scale_of(desk.loaded.card(seen["result"]["metric"]), seen["result"]["threshold"])
        values |= {
            "scale": scale,
            "scale_words": scale and scale_words(scale, seen["result"]["metric"]),
        }
    return environment().get_template("job.html").render(values)


async def _with_answer(desk: ServerContext, job: Job) -> str:
    """The job below the answer that it attacks, where that is still kept."""
    fragment = _fragment(desk, job)
    if job.answer is None:
        return fragment
    try:
        if job.kind == "compare":
            desk.answers.find(job.answer, PairQuestion)
            answer = await desk.ask(answer_pair, job.question)
            return pair_fragment(desk, job.answer, answer, fragment)
        desk.answers.find(job.answer, TripletQuestion)
        judged = await desk.ask(answer_triplet, job.question)
        return triplet_fragment(desk, job.answer, judged, fragment)
    except Refused:
        return fragment
