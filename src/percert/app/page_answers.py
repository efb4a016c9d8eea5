"""What the pages answer at once: fragments for htmx, whole pages without it.

First, before any number, comes the meaning of an answer in plain sentences. Answers to compare and
judge are kept with their images, and have an address: a reload finds them, and what is asked of an
answer next is asked of the images that it was made of.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from percert.app.api import (
    AskedPair,
    AskedTriplet,
    Eps,
    EpsInQuery,
    ImageFile,
    Insets,
    Many,
    Wrong,
)
from percert.app.audit import AskedAudit, AuditQuestion, audit
from percert.app.compare import PairAnswer, PairQuestion, answer_pair
from percert.app.context import Context, ServerContext
from percert.app.images import Upload, upload_of, write_picture
from percert.app.judge import TripletAnswer, TripletQuestion, answer_triplet
from percert.app.pages import (
    COFFEE,
    COPY,
    alone,
    example_image,
    example_pair,
    example_triplet,
    whole,
)
from percert.app.search import answer_one, ask_copies, ask_nearest
from percert.app.templates import Scale, closeness, environment, scale_of
from percert.app.worker import Worker
from percert.metrics.catalog import typical_distances
from percert.reports.budgets import levels, rounded_down, tampering, visibility, whole_pixels
from percert.search.query.recommended import share_of_queries


def pair_title(answer: PairAnswer) -> str:
    """The verdict on a pair in one line."""
    if answer.copy is None and answer.radius is not None:
        return f"Whether {answer.candidate} is a copy of {answer.reference} cannot be said"
    if answer.copy is None:
        return f"{answer.candidate} beside {answer.reference}"
    return f"{answer.candidate} is {'' if answer.copy else 'not '}a copy of {answer.reference}"


def pair_words(answer: PairAnswer) -> list[str]:
    """How close the two are, and what somebody who tampers with them could make of that."""
    said = [_close(answer.metric, answer.distance)]
    if answer.radius == 0:
        said.append(
            "Nothing is proven: the two are too close to the threshold, or one is too plain (one "
            "colour, a page of text), and a change that nobody sees may turn this round."
        )
    elif answer.stands_always:
        said.append(f"Proven: no change of {whose(answer)} turns this round.")
    elif answer.radius is not None:
        said.append(_stands(whose(answer), answer.radius, answer.resolution))
    if answer.copy and answer.rule is not None and answer.rule.wrong is not None:
        share = share_of_queries(answer.rule.wrong)
        said.append(f"Of pairs of unrelated photographs {share} is as near to the reference.")
    return said


def whose(answer: PairAnswer) -> str:
    """The name of the image that may be tampered with."""
    names = {"candidate": answer.candidate, "reference": answer.reference}
    return names.get(answer.perturbed, "either image")


def triplet_title(answer: TripletAnswer) -> str:
    """Which one is closer, by their names."""
    left_first = answer.closer == "left"
    near, far = (answer.left, answer.right) if left_first else (answer.right, answer.left)
    return f"{near} is closer to {answer.reference} than {far}"


def triplet_words(answer: TripletAnswer) -> list[str]:
    """How close each candidate is, and how far that stands."""
    known = typical_distances(answer.metric)
    said = [
        f"{name} and {answer.reference} are {closeness(distance, known)}."
        for name, distance in (
            (answer.left, answer.distance_left),
            (answer.right, answer.distance_right),
        )
    ]
    first = answer.standings[0]
    if first.radius:
        said.append(_stands(answer.reference, first.radius, answer.resolution))
    elif first.radius == 0:
        said.append("Nothing is proven: the two are too close, or too plain.")
    return said


def scale_words(scale: Scale, metric: str) -> str:
    """What the ends of the scale are."""
    ends = f"0 is the same, {scale.most:.3g} the far end"
    return f"Distance by {metric}: {ends}; near 0 the scale is stretched."


def _close(metric: str, distance: float) -> str:
    known = typical_distances(metric)
    said = f"The two are {closeness(distance, known)}: they score {distance:.4f}"
    if known is None:
        return f"{said} by {metric}, where 0 is the same."
    low, high = known.unrelated_low, known.unrelated_high
    return f"{said}, nine of ten pairs of unrelated photographs {low:.2g} to {high:.2g}."


def _stands(name: str, radius: float, size: tuple[int, int]) -> str:
    level = rounded_down(levels(radius, size), 2)
    said = (
        f"Proven: nobody can turn this round by changing {name} by less than {level} of 255 "
        f"levels on every value, which is {visibility(radius, size)}"
    )
    pixels = whole_pixels(radius * (1 - 1e-9), size)  # less than the radius, not all of it
    if pixels:
        said += f", nor by turning {'a pixel' if pixels == 1 else f'{pixels:,} pixels'} "
        said += "from black to white"
    return f"{said}."


router = APIRouter(prefix="/ui")


@router.post("/compare")
async def compare(request: Request, context: Context, asked: AskedPair) -> Response:
    """Distance, interval, verdict and slider."""
    return await _answered(request, context, asked)


@router.post("/compare/example")
async def compare_example(request: Request, context: Context) -> Response:
    """The same for a photograph and its copy, which come with percert."""
    return await _answered(request, context, example_pair(COPY))


@router.post("/compare/strangers")
async def compare_strangers(request: Request, context: Context) -> Response:
    """The same for two photographs of different things, which come with percert."""
    return await _answered(request, context, example_pair(COFFEE))


@router.get("/compare/{kept_id}")
async def kept_comparison(
    request: Request, context: Context, kept_id: str, eps: EpsInQuery = None
) -> Response:
    """An answer that was given before, for another eps where that is asked."""
    asked = context.answers.find(kept_id, PairQuestion)
    asked = asked if eps is None else replace(asked, eps=eps)
    again = "" if eps is None else f"?eps={eps}"
    return await whole(request, context, "/", await fragment(context, kept_id, asked, again=again))


@router.post("/judge")
async def judge(request: Request, context: Context, asked: AskedTriplet) -> Response:
    """The closer one, and how far that stands."""
    return await _answered(request, context, asked)


@router.post("/judge/example")
async def judge_example(request: Request, context: Context) -> Response:
    """The same for photographs that come with percert."""
    return await _answered(request, context, example_triplet())


@router.get("/judge/{kept_id}")
async def kept_judgement(request: Request, context: Context, kept_id: str) -> Response:
    """An answer that was given before."""
    asked = context.answers.find(kept_id, TripletQuestion)
    return await whole(request, context, "/judge", await fragment(context, kept_id, asked))


@router.get("/kept/{kept_id}/{role}")
async def kept_picture(context: Context, kept_id: str, role: str) -> Response:
    """One of the images that an answer was made of, reduced for showing."""
    upload, path = context.answers.picture(kept_id, role)
    if not path.exists():
        await context.ask(_draw, upload, path)
    return FileResponse(
        path, media_type="image/png", headers={"Cache-Control": "private, max-age=600"}
    )


def _draw(worker: Worker, upload: Upload, path: Path) -> None:
    write_picture(upload.image(worker.limits.pixels), path)


async def _answered(
    request: Request, context: ServerContext, asked: PairQuestion | TripletQuestion
) -> Response:
    """The answer to a question, which is kept with its images, at an address of its own."""
    answer = await _ask(context, asked)
    kept = await asyncio.to_thread(context.answers.keep, asked)
    name = "compare" if isinstance(asked, PairQuestion) else "judge"
    return alone(request, _piece(context, kept.id, answer), f"/ui/{name}/{kept.id}")


async def _ask(
    context: ServerContext, asked: PairQuestion | TripletQuestion
) -> PairAnswer | TripletAnswer:
    if isinstance(asked, PairQuestion):
        return await context.ask(answer_pair, asked)
    return await context.ask(answer_triplet, asked)


async def fragment(
    context: ServerContext,
    kept_id: str,
    asked: PairQuestion | TripletQuestion,
    *,
    attack: str = "",
    again: str = "",
) -> str:
    """The answer to a kept question as a piece of a page, with that of an ``attack`` below it.

    ``again`` is what its address ends in for the same eps.
    """
    return _piece(context, kept_id, await _ask(context, asked), attack, again)


def _piece(
    context: ServerContext,
    kept_id: str,
    answer: PairAnswer | TripletAnswer,
    attack: str = "",
    again: str = "",
) -> str:
    card = context.resources.card(answer.metric)
    if isinstance(answer, PairAnswer):
        scale = scale_of(card, answer.threshold)
        intervals = answer.intervals
        values: dict[str, Any] = {
            "title": pair_title(answer),
            "words": pair_words(answer),
            "again": again,
            "whose": whose(answer),
            "spans": [scale.span(one.lower, one.upper) for one in intervals] if scale else [],
            "now": [one.eps for one in intervals].index(answer.eps) if intervals else 0,
            "spoken": [tampering(one.eps, answer.resolution) for one in intervals],
        }
    else:
        scale = scale_of(card)
        values = {
            "title": triplet_title(answer),
            "words": triplet_words(answer),
            "proven": any(one.radius is not None for one in answer.standings),
        }
    values |= {
        "kept": kept_id,
        "answer": answer,
        "scale": scale,
        "scale_words": scale and scale_words(scale, answer.metric),
        "attack": attack,
    }
    name = "compare" if isinstance(answer, PairAnswer) else "judge"
    return environment().get_template(f"{name}_answer.html").render(values)


@router.post("/search")
async def search(
    request: Request,
    context: Context,
    image: ImageFile,
    k: Many = 10,
    eps: Eps = None,
    wrong: Wrong = None,
    insets: Insets = False,
) -> Response:
    """The nearest stored images, and the copies among all."""
    return await _searched(request, context, upload_of(image, "query"), k, eps, wrong, insets)


@router.post("/search/example")
async def search_example(request: Request, context: Context) -> Response:
    """The same for a photograph that comes with percert."""
    return await _searched(request, context, example_image(COPY), 10, None, None, False)


async def _searched(
    request: Request,
    context: ServerContext,
    upload: Upload,
    k: int,
    eps: float | None,
    wrong: float | None,
    insets: bool,
) -> Response:
    values = await context.ask(_search, upload, k, eps, wrong, insets)
    values["usual"] = typical_distances(values["nearest"]["metric"])
    piece = environment().get_template("search_answer.html").render(values)
    return await whole(request, context, "/search", piece)


def _search(
    worker: Worker, upload: Upload, k: int, eps: float | None, wrong: float | None, insets: bool
) -> dict[str, Any]:
    nearest = answer_one(worker, upload, ask_nearest, k, eps)
    return {"nearest": nearest, **_copies(worker, upload, wrong, eps, insets)}


def _copies(
    worker: Worker, upload: Upload, wrong: float | None, eps: float | None, insets: bool
) -> dict[str, Any]:
    from percert.search import Rule
    from percert.search.query.rule import expected

    try:
        found = answer_one(worker, upload, ask_copies, wrong, None, eps, insets)
    except ValueError:
        if wrong is not None:
            raise
        return {"copies": None}  # too few images for a threshold
    return {"copies": found, "expected": expected(Rule(**found["rule"]))}


@router.post("/audit")
async def audit_page(request: Request, context: Context, asked: AskedAudit) -> Response:
    """The fairness report."""
    values = await context.ask(_audit, asked)
    piece = environment().get_template("audit_answer.html").render(values)
    return await whole(request, context, "/audit", piece)


def _audit(worker: Worker, asked: AuditQuestion) -> dict[str, Any]:
    found = audit(worker, asked)
    # Imported here: it draws with matplotlib, which servers without an audit may do without.
    from percert.fairness.report import lead, report_sections

    return {"lead": lead(found), "sections": report_sections(found)}
