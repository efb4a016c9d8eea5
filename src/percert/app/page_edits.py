"""What the pages answer on edits: how far an image of a kept answer may be edited."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from percert.app.compare import PairQuestion
from percert.app.context import Context
from percert.app.edits import EditsAnswer, TripletEditsAnswer, answer_edits, answer_triplet_edits
from percert.app.judge import TripletQuestion
from percert.app.pages import whole
from percert.app.templates import environment

router = APIRouter(prefix="/ui")


@router.get("/compare/{kept_id}/edits")
async def kept_edits(request: Request, context: Context, kept_id: str) -> Response:
    """How far the candidate of an answer may be edited."""
    asked = context.answers.find(kept_id, PairQuestion)
    answer = await context.ask(answer_edits, asked)
    stays = "It stays a copy" if answer.copy else "It stays no copy"
    piece = _piece(f"/ui/compare/{kept_id}/edits", answer, stays)
    return await whole(request, context, "/", piece)


@router.get("/judge/{kept_id}/edits")
async def kept_triplet_edits(request: Request, context: Context, kept_id: str) -> Response:
    """How far the reference of an answer may be edited."""
    asked = context.answers.find(kept_id, TripletQuestion)
    answer = await context.ask(answer_triplet_edits, asked)
    closer = answer.left if answer.closer == "left" else answer.right
    piece = _piece(f"/ui/judge/{kept_id}/edits", answer, f"{closer} stays the closer")
    return await whole(request, context, "/judge", piece)


def _piece(address: str, answer: EditsAnswer | TripletEditsAnswer, stays: str) -> str:
    values = {"address": address, "answer": answer, "stays": stays}
    return environment().get_template("edits_answer.html").render(values)
