"""The interface: compare, judge, search and audit, each answered at once."""

import io
from typing import Annotated, Any

from fastapi import APIRouter, Form, Response
from PIL import Image
from torch import Tensor

from percert.app.audit_answer import AskedAudit, AuditAnswer, answer_audit
from percert.app.bench import Bench
from percert.app.desk import AtDesk
from percert.app.pair_answer import PairAnswer, answer_pair
from percert.app.questions import AskedPair, AskedTriplet, Eps, ImageFile, Threshold
from percert.app.refusal import problems
from percert.app.search_answer import (
    CopiesAnswer,
    NearestAnswer,
    answer_copies,
    answer_nearest,
    small_picture,
)
from percert.app.triplet_answer import TripletAnswer, answer_triplet
from percert.app.uploads import upload_of

router = APIRouter(prefix="/api/v1", responses=problems())

Many = Annotated[int, Form(ge=1, le=100, description="How many of the nearest.")]


@router.post("/compare", tags=["compare"])
async def compare(desk: AtDesk, asked: AskedPair) -> PairAnswer:
    """How far is the candidate from the reference, is it a copy, and how far does that stand?"""
    return await desk.ask(answer_pair, asked)


@router.post("/judge", tags=["judge"])
async def judge(desk: AtDesk, asked: AskedTriplet) -> TripletAnswer:
    """Which of two images is closer to a reference, and how far does that stand?"""
    return await desk.ask(answer_triplet, asked)


@router.post("/search", tags=["search"], response_model=NearestAnswer, responses=problems(503))
async def search(desk: AtDesk, image: ImageFile, k: Many = 10, eps: Eps = None) -> dict[str, Any]:
    """Which stored images are nearest to this one, and how far is that proven?"""
    return await desk.ask(answer_nearest, upload_of(image, "query"), k, eps)


@router.post("/copies", tags=["search"], response_model=CopiesAnswer, responses=problems(503))
async def copies(
    desk: AtDesk, image: ImageFile, threshold: Threshold = None, eps: Eps = None
) -> dict[str, Any]:
    """Which stored images is this one certainly, or possibly, a copy of? None is missing."""
    return await desk.ask(answer_copies, upload_of(image, "query"), threshold, eps)


@router.get(
    "/store/picture",
    tags=["search"],
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 503)},
)
async def stored_picture(desk: AtDesk, id: str) -> Response:
    """A small picture of a stored image."""
    png = await desk.ask(_png_of, id)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


@router.post("/audit", tags=["audit"], response_model=AuditAnswer)
async def audit(desk: AtDesk, asked: AskedAudit) -> dict[str, Any]:
    """Does accuracy depend on an attribute of the groups that images come from?"""
    return await desk.ask(answer_audit, asked)


def _png_of(bench: Bench, image_id: str) -> bytes:
    return _png(small_picture(bench, image_id))


def _png(image: Tensor) -> bytes:
    levels = (255 * image).round().byte().permute(1, 2, 0).contiguous().numpy()
    held = io.BytesIO()
    Image.fromarray(levels).save(held, "PNG")
    return held.getvalue()
