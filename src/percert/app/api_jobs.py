"""The interface: attacks as jobs, their progress, cancelling, results and pictures."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from percert.app.api import AskedPair, AskedTriplet, ImageFile
from percert.app.attack import attack_classifier, check_attack
from percert.app.compare import PairQuestion
from percert.app.compare_attack import attack_pair
from percert.app.context import Context, ServerContext
from percert.app.errors import RefusedRequest, problems
from percert.app.images import Upload, upload_of
from percert.app.jobs import Job, JobView, Streams, events, progress_json, view
from percert.app.judge import TripletQuestion, attack_triplet

router = APIRouter(prefix="/api/v1", responses=problems())

Times = Annotated[
    float,
    Form(
        gt=1,
        le=1000,
        allow_inf_nan=False,
        description="How many times the proven radius the attack outside of it may use.",
    ),
]
AttackText = Annotated[
    str,
    Form(
        max_length=200,
        description="NAME or NAME:key=value,key=value; /api/v1/about lists the attacks.",
    ),
]
ModelName = Annotated[
    str, Form(max_length=200, description="One of /api/v1/about; by default the first.")
]
Target = Annotated[
    int | None,
    Form(ge=0, description="A class to attack towards; by default any but what the model says."),
]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: progress with JSON, then end with the state.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


async def start_pair(context: ServerContext, asked: PairQuestion) -> Job:
    """A job that attacks a comparison; the metric must have a proven bound."""
    card = context.resources.proven_card(asked.metric)
    if asked.perturbed != "candidate":
        raise RefusedRequest(422, "perturbed: the attack moves the candidate; expected 'candidate'")
    if asked.eps == 0:
        raise RefusedRequest(422, "eps: expected more than 0 to attack with")
    work = partial(attack_pair, metric=card.name, eps=asked.eps, asked=asked.rule)
    return await context.start("compare", (asked.reference, asked.candidate), work)


async def start_triplet(context: ServerContext, asked: TripletQuestion, times: float) -> Job:
    """A job that attacks a judgement; the metric must have a proven bound."""
    card = context.resources.proven_card(asked.metric)
    work = partial(attack_triplet, metric=card.name, times=times)
    return await context.start("judge", (asked.reference, asked.left, asked.right), work)


async def start_classifier(
    context: ServerContext, image: Upload, model: str, text: str, target: int | None
) -> Job:
    """A job that attacks a classifier on one image."""
    name = context.resources.classifier_name(model)
    await context.ask(check_attack, text)
    work = partial(
        attack_classifier, name=name, text=text, target=target, side=context.limits.attack_side
    )
    return await context.start("attack", (image,), work)


@router.post("/compare/attack", status_code=202, tags=["compare"], response_model=JobView)
async def attack_compare(context: Context, asked: AskedPair) -> dict[str, Any]:
    """Start an attack on the candidate within eps that moves the distance as far as it can."""
    return view(await start_pair(context, asked))


@router.post("/judge/attack", status_code=202, tags=["judge"], response_model=JobView)
async def attack_judge(context: Context, asked: AskedTriplet, times: Times = 2.0) -> dict[str, Any]:
    """Start attacks on the reference, inside the proven radius and outside of it."""
    return view(await start_triplet(context, asked, times))


@router.post("/attack", status_code=202, tags=["attack"], response_model=JobView)
async def attack(
    context: Context,
    image: ImageFile,
    attack: AttackText = "ascent",
    model: ModelName = "",
    target: Target = None,
) -> dict[str, Any]:
    """Start an attack on a classifier."""
    started = await start_classifier(context, upload_of(image, "image"), model, attack, target)
    return view(started)


@router.get("/jobs/{job_id}", tags=["jobs"], response_model=JobView, responses=problems(404))
async def job(context: Context, job_id: str) -> dict[str, Any]:
    """How far a job is, and its result when it is done."""
    return view(context.jobs.find(job_id))


@router.delete("/jobs/{job_id}", tags=["jobs"], response_model=JobView, responses=problems(404))
async def cancel(context: Context, job_id: str) -> dict[str, Any]:
    """Cancel a job; one that is over stays as it is."""
    found = context.jobs.find(job_id)
    found.cancel()
    return view(found)


@router.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    response_class=StreamingResponse,
    responses={**problems(404), **STREAM},
)
async def job_events(request: Request, context: Context, job_id: str) -> Response:
    """The progress of a job as it goes on."""
    return stream(request, context, job_id, progress_json)


@router.get(
    "/jobs/{job_id}/pictures/{name}",
    tags=["jobs"],
    response_class=FileResponse,
    responses={200: {"content": {"image/png": {}}}, **problems(404)},
)
async def picture(context: Context, job_id: str, name: str) -> Response:
    """A picture of a finished job."""
    found = context.jobs.find(job_id)
    if found.state != "done" or name not in found.pictures:
        raise RefusedRequest(404, "There is no such picture.")
    return FileResponse(found.folder / f"{name}.png", media_type="image/png")


def stream(
    request: Request, context: ServerContext, job_id: str, shown: Callable[[Job], str]
) -> Response:
    """The events of a job, one of a limited number of streams."""
    found = context.jobs.find(job_id)
    streams: Streams = request.app.state.streams
    streams.check()

    return StreamingResponse(
        streams.counted(events(found, shown)),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )
