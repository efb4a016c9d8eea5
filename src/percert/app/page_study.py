"""The pages of a study: what it is, pair after pair, and thanks. They need no script."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from percert.app.errors import RefusedRequest
from percert.app.study import SHOWN_SECONDS, Observer, Study
from percert.app.templates import render

router = APIRouter(include_in_schema=False)


@router.get("/")
async def introduction(request: Request) -> Response:
    """What observers are asked, and the button that begins."""
    study: Study = request.app.state.study
    return render("study.html", {"step": "begin", "count": len(study.pairs), **_WORDS})


@router.post("/study")
async def begin(request: Request) -> Response:
    """Begin: a new observer, and the first pair."""
    study: Study = request.app.state.study
    return RedirectResponse(f"/study/{study.begin()}", 303)


@router.get("/study/{name}")
async def pair(request: Request, name: str) -> Response:
    """The pair that is next, shown once; after the last one, thanks."""
    study, observer = _found(request, name)
    count = len(study.pairs)
    if observer.place >= count:
        return render("study.html", {"step": "thanks", "count": count, **_WORDS})
    shown = study.show(observer)
    values = {"step": "pair", "name": name, "place": observer.place, "count": count}
    return render("study.html", {**values, "shown": shown, **_WORDS})


@router.get("/study/{name}/{place}/{side}.png")
async def picture(
    request: Request, name: str, place: int, side: Literal["left", "right"]
) -> Response:
    """A picture of the pair that is shown, and of no other."""
    study, observer = _found(request, name)
    path = study.picture(observer, 0 if side == "left" else 1) if place == observer.place else None
    if path is None:
        raise RefusedRequest(404, "That picture is no longer shown.")
    return FileResponse(path, media_type="image/png")


@router.post("/study/{name}")
async def answer(
    request: Request,
    name: str,
    place: Annotated[int, Form(ge=0)],
    said: Annotated[Literal["same", "different"], Form()],
) -> Response:
    """Count the answer, and go on. A second one to the same pair is not counted."""
    study, observer = _found(request, name)
    study.answer(observer, place, said == "different")
    return RedirectResponse(f"/study/{name}", 303)


def _found(request: Request, name: str) -> tuple[Study, Observer]:
    study: Study = request.app.state.study
    observer = study.observers.get(name)
    if observer is None:
        raise RefusedRequest(404, "This study was not begun here, or long ago: begin again.")
    return study, observer


_WORDS = {"title": "Do they differ?", "seconds": f"{SHOWN_SECONDS:.0f}"}
