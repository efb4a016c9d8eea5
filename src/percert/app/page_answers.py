"""What the pages answer at once, and the plain sentences that they say first.

What the forms of the pages answer at once: fragments for htmx, whole pages without it.

Answers to compare and judge are kept with their images, and have an address: a reload finds them,
and what is asked of an answer next is asked of the images that it was made of.

What the pages say first, before any number: the meaning of an answer in plain sentences.
"""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from percert.app.answers.audit import AskedAudit, AuditQuestion, audit
from percert.app.answers.compare import PairAnswer, PairQuestion, answer_pair
from percert.app.answers.judge import TripletAnswer, TripletQuestion, answer_triplet
from percert.app.answers.search import answer_copies, answer_nearest
from percert.app.api import AskedPair, AskedTriplet, Eps, EpsInQuery, ImageFile, Many, Threshold
from percert.app.context import Context, ServerContext
from percert.app.images import Upload, upload_of, write_picture
from percert.app.pages import COFFEE, COPY, example_image, example_pair, example_triplet, page
from percert.app.templates import Scale, closeness, environment, scale_of
from percert.app.worker import Worker
from percert.metrics.catalog import typical_distances
from percert.reports.budgets import levels, rounded_down, tampering, visibility, whole_pixels


def pair_title(answer: PairAnswer) -> str:
    """One line that answers the question that was asked."""
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
    return said


def whose(answer: PairAnswer) -> str:
    """What somebody may tamper with, by its name."""
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


async def shown(
    request: Request, desk: ServerContext, path: str, template: str, values: dict[str, Any]
) -> Response:
    """The answer alone for htmx; inside its page for a browser that runs no scripts."""
    fragment = environment().get_template(template).render(values)
    if "hx-request" in request.headers:
        return Response(fragment, media_type="text/html")
    return await page(request, desk, path, result=fragment)


@router.post("/compare")
async def compare(request: Request, desk: Context, asked: AskedPair) -> Response:
    """Distance, interval, verdict and slider."""
    return await _pair_asked(request, desk, asked)


@router.post("/compare/example")
async def compare_example(request: Request, desk: Context) -> Response:
    """The same for a photograph and its copy, which come with percert."""
    return await _pair_asked(request, desk, example_pair(COPY))


@router.post("/compare/strangers")
async def compare_strangers(request: Request, desk: Context) -> Response:
    """The same for two photographs of different things, which come with percert."""
    return await _pair_asked(request, desk, example_pair(COFFEE))


@router.get("/compare/{kept_id}")
async def kept_comparison(
    request: Request, desk: Context, kept_id: str, eps: EpsInQuery = None
) -> Response:
    """An answer that was given before, for another eps where that is asked."""
    asked = desk.answers.find(kept_id, PairQuestion)
    asked = asked if eps is None else replace(asked, eps=eps)
    answer = await desk.ask(answer_pair, asked)
    fragment = pair_fragment(desk, kept_id, answer, again="" if eps is None else f"?eps={eps}")
    return await _whole(request, desk, "/", fragment)


@router.post("/judge")
async def judge(request: Request, desk: Context, asked: AskedTriplet) -> Response:
    """The closer one, and how far that stands."""
    return await _triplet_asked(request, desk, asked)


@router.post("/judge/example")
async def judge_example(request: Request, desk: Context) -> Response:
    """The same for photographs that come with percert."""
    return await _triplet_asked(request, desk, example_triplet())


@router.get("/judge/{kept_id}")
async def kept_judgement(request: Request, desk: Context, kept_id: str) -> Response:
    """An answer that was given before."""
    asked = desk.answers.find(kept_id, TripletQuestion)
    answer = await desk.ask(answer_triplet, asked)
    return await _whole(request, desk, "/judge", triplet_fragment(desk, kept_id, answer))


@router.get("/kept/{kept_id}/{role}")
async def kept_picture(desk: Context, kept_id: str, role: str) -> Response:
    """One of the images that an answer was made of, reduced for showing."""
    upload, path = desk.answers.picture(kept_id, role)
    if not path.exists():
        await desk.ask(_draw, upload, path)
    return FileResponse(
        path, media_type="image/png", headers={"Cache-Control": "private, max-age=600"}
    )


def _draw(bench: Worker, upload: Upload, path: Path) -> None:
    waiting = path.with_name(f"{secrets.token_hex(8)}.png")  # nobody reads half a picture
    write_picture(upload.image(bench.limits.pixels), waiting)
    waiting.replace(path)


async def _pair_asked(request: Request, desk: ServerContext, asked: PairQuestion) -> Response:
    answer = await desk.ask(answer_pair, asked)
    kept = await asyncio.to_thread(desk.answers.keep, asked)
    return _first(request, f"/ui/compare/{kept.id}", pair_fragment(desk, kept.id, answer))


async def _triplet_asked(request: Request, desk: ServerContext, asked: TripletQuestion) -> Response:
    answer = await desk.ask(answer_triplet, asked)
    kept = await asyncio.to_thread(desk.answers.keep, asked)
    return _first(request, f"/ui/judge/{kept.id}", triplet_fragment(desk, kept.id, answer))


def _first(request: Request, address: str, fragment: str) -> Response:
    """An answer just given: alone for htmx; a browser without scripts is sent to its address."""
    if "hx-request" in request.headers:
        return Response(fragment, media_type="text/html")
    return RedirectResponse(address, 303)


async def _whole(request: Request, desk: ServerContext, path: str, fragment: str) -> Response:
    if "hx-request" in request.headers:
        return Response(fragment, media_type="text/html")
    return await page(request, desk, path, result=fragment)


def pair_fragment(
    desk: ServerContext, kept_id: str, answer: PairAnswer, attack: str = "", again: str = ""
) -> str:
    """The answer to a comparison as a piece of a page, with that of an ``attack`` below it.

    ``again`` is what its address ends in for the same eps.
    """
    scale = scale_of(desk.loaded.card(answer.metric), answer.threshold)
    spans = [] if scale is None else [scale.span(one.lower, one.upper) for one in answer.intervals]
    values = {
        "kept": kept_id,
        "answer": answer,
        "title": pair_title(answer),
        "words": pair_words(answer),
        "again": again,
        "whose": whose(answer),
        "scale": scale,
        "scale_words": scale and scale_words(scale, answer.metric),
        "spans": spans,
        "now": [one.eps for one in answer.intervals].index(answer.eps) if answer.intervals else 0,
        "spoken": [tampering(one.eps, answer.resolution) for one in answer.intervals],
        "attack": attack,
    }
    return environment().get_template("compare_answer.html").render(values)


def triplet_fragment(
    desk: ServerContext, kept_id: str, answer: TripletAnswer, attack: str = ""
) -> str:
    """The answer to a judgement as a piece of a page, with that of an ``attack`` below it."""
    scale = scale_of(desk.loaded.card(answer.metric))
    values = {
        "kept": kept_id,
        "answer": answer,
        "title": triplet_title(answer),
        "words": triplet_words(answer),
        "scale": scale,
        "scale_words": scale and scale_words(scale, answer.metric),
        "proven": any(one.radius is not None for one in answer.standings),
        "attack": attack,
    }
    return environment().get_template("judge_answer.html").render(values)


@router.post("/search")
async def search(
    request: Request,
    desk: Context,
    image: ImageFile,
    k: Many = 10,
    eps: Eps = None,
    threshold: Threshold = None,
) -> Response:
    """The nearest stored images, and the copies among all."""
    return await _searched(request, desk, upload_of(image, "query"), k, eps, threshold)


@router.post("/search/example")
async def search_example(request: Request, desk: Context) -> Response:
    """The same for a photograph that comes with percert."""
    return await _searched(request, desk, example_image(COPY), 10, None, None)


async def _searched(
    request: Request,
    desk: ServerContext,
    upload: Upload,
    k: int,
    eps: float | None,
    threshold: float | None,
) -> Response:
    values = await desk.ask(_search, upload, k, eps, threshold)
    values["usual"] = typical_distances(values["nearest"]["metric"])
    return await shown(request, desk, "/search", "search_answer.html", values)


def _search(
    bench: Worker, upload: Upload, k: int, eps: float | None, threshold: float | None
) -> dict[str, Any]:
    nearest = answer_nearest(bench, upload, k, eps)
    return {"nearest": nearest, "copies": _copies(bench, upload, threshold, eps)}


def _copies(
    bench: Worker, upload: Upload, threshold: float | None, eps: float | None
) -> dict[str, Any] | None:
    try:
        return answer_copies(bench, upload, threshold, eps)
    except ValueError:
        if threshold is not None:
            raise
        return None  # a metric that recommends no threshold


@router.post("/audit")
async def audit_page(request: Request, desk: Context, asked: AskedAudit) -> Response:
    """The fairness report."""
    values = await desk.ask(_audit, asked)
    return await shown(request, desk, "/audit", "audit_answer.html", values)


def _audit(bench: Worker, asked: AuditQuestion) -> dict[str, Any]:
    found = audit(bench, asked)
    # Imported here: it draws with matplotlib, which servers without an audit may do without.
    from percert.fairness.report import lead, report_sections

    return {"lead": lead(found), "sections": report_sections(found)}
