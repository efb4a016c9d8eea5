"""Attacks on the pages: started by a form, watched through a stream of events, cancelled.

Every job has an address: a reload there finds it, running or done.
"""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

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
from percert.app.attack import class_names, wanted_class
from percert.app.compare import PairQuestion
from percert.app.context import Context, ServerContext
from percert.app.errors import RefusedRequest
from percert.app.images import Upload, upload_of
from percert.app.jobs import ENDED, Job, view
from percert.app.judge import TripletQuestion
from percert.app.page_answers import fragment, scale_words
from percert.app.pages import CAT, alone, attack_text, attack_values, example_image, whole
from percert.app.templates import environment, render, scale_of

router = APIRouter(prefix="/ui")

#: The page that a kind of job belongs to.
HOME = {"compare": "/", "judge": "/judge", "attack": "/attack"}
#: A class by its number or name.
ClassText = Annotated[str, Form(max_length=200)]


@router.post("/compare/{kept_id}/attack")
async def attack_compare(
    request: Request, context: Context, kept_id: str, eps: Eps = None
) -> Response:
    """Attack the comparison that was answered, with its own images, within ``eps``."""
    asked = context.answers.find(kept_id, PairQuestion)
    asked = asked if eps is None else replace(asked, eps=eps)
    job = await start_pair(context, asked)
    job.answer, job.question = kept_id, asked
    return _shown(request, job, context)


@router.post("/judge/{kept_id}/attack")
async def attack_judge(
    request: Request, context: Context, kept_id: str, times: Times = 2.0
) -> Response:
    """Attack the judgement that was answered inside and outside of its radius."""
    asked = context.answers.find(kept_id, TripletQuestion)
    job = await start_triplet(context, asked, times)
    job.answer, job.question = kept_id, asked
    return _shown(request, job, context)


@router.post("/attack")
async def attack(
    request: Request,
    context: Context,
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
        raise RefusedRequest(422, str(error)) from None
    return await _attack(request, context, upload_of(image, "image"), model, text, target)


@router.post("/attack/example")
async def attack_example(request: Request, context: Context) -> Response:
    """Attack the first classifier on a photograph that comes with percert."""
    return await _attack(request, context, example_image(CAT), "", "ascent", "")


@router.get("/attack/settings")
async def attack_settings(context: Context, attack: str = "") -> Response:
    """The fields of an attack."""
    return render("attack_settings.html", attack_values(context, attack))


@router.get("/attack/classes")
async def attack_classes(context: Context, model: str = "") -> Response:
    """The names of a classifier's classes, to choose from."""
    names = await context.ask(class_names, context.resources.classifier_name(model))
    return render("attack_classes.html", {"class_names": names})


async def _attack(
    request: Request, context: ServerContext, image: Upload, model: str, text: str, target: str
) -> Response:
    name = context.resources.classifier_name(model)
    wanted = await context.ask(wanted_class, name, target) if target.strip() else None
    job = await start_classifier(context, image, name, text, wanted)
    return _shown(request, job, context)


@router.get("/jobs/{job_id}")
async def job(request: Request, context: Context, job_id: str) -> Response:
    """A job as it is now; in its page, below the answer that it attacks."""
    found = context.jobs.find(job_id)
    seen = view(found)  # looked at once: the job may end while the answer is computed
    piece = _fragment(context, seen)
    if "hx-request" not in request.headers and found.answer is not None:
        try:  # the answer may be forgotten by now
            context.answers.find(found.answer, type(found.question))
            piece = await fragment(context, found.answer, found.question, attack=piece)
        except RefusedRequest:
            pass
    again = None if seen["state"] in ENDED else 3
    return await whole(request, context, HOME[found.kind], piece, again=again)


@router.post("/jobs/{job_id}/cancel")
async def cancel(request: Request, context: Context, job_id: str) -> Response:
    """Cancel a job, and show that."""
    found = context.jobs.find(job_id)
    found.cancel()
    return _shown(request, found, context)


@router.get("/jobs/{job_id}/events")
async def job_events(request: Request, context: Context, job_id: str) -> Response:
    """The progress, as a piece of the page."""
    return stream(request, context, job_id, _progress)


def _progress(job: Job) -> str:
    return environment().get_template("progress.html").render({"job": view(job)})


def _shown(request: Request, job: Job, context: ServerContext) -> Response:
    return alone(request, _fragment(context, view(job)), f"/ui/jobs/{job.id}")


def _fragment(context: ServerContext, seen: dict[str, Any]) -> str:
    values: dict[str, Any] = {"job": seen, "scale": None, "scale_words": ""}
    if seen["state"] == "done" and seen["kind"] == "compare":
        result = seen["result"]
        scale = scale_of(context.resources.card(result["metric"]), result["threshold"])
        values |= {"scale": scale, "scale_words": scale and scale_words(scale, result["metric"])}
    return environment().get_template("job.html").render(values)
