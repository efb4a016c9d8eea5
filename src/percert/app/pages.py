"""The pages: each a form; what it answers is in ``pages_answers`` and ``pages_jobs``."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from percert.app.api_about import describe
from percert.app.attack_fields import setting_fields
from percert.app.classifier_attack import LARGEST_COUNT, LARGEST_LENGTH, attacks_offered
from percert.app.desk import AtDesk, Desk
from percert.app.guard import COOKIE, check_token, session_of
from percert.app.templates import render
from percert.attacks.catalog import CATALOG

router = APIRouter()

#: The attack that a form starts with.
USUAL_ATTACK = "ascent"
#: Address, template, and what the navigation calls it.
PAGES = {
    "/": ("compare.html", "Compare"),
    "/judge": ("judge.html", "Judge"),
    "/attack": ("attack.html", "Attack"),
    "/search": ("search.html", "Search"),
    "/audit": ("audit.html", "Audit"),
    "/interface": ("interface.html", "API"),
}


async def page(request: Request, desk: Desk, path: str, **more: Any) -> Response:
    """The page at ``path``, with ``more`` for its template.

    ``again`` is after how many seconds a browser without scripts should ask once more.
    """
    template, title = PAGES[path]
    about = await describe(desk, ask_store=path == "/search")
    navigation = [(address, name) for address, (_, name) in PAGES.items()]
    values = {"here": path, "title": title, "navigation": navigation, "about": about}
    if path == "/attack":
        values |= attack_values(desk, request.query_params.get("attack", ""))
    values |= {"result": None, "again": None, "guarded": desk.guarded}
    return render(template, {**values, **more})


def attack_values(desk: Desk, name: str) -> dict[str, Any]:
    """The attack whose settings are shown, and its fields."""
    chosen = name if name in attacks_offered() else USUAL_ATTACK
    metrics = (*(card.name for card in desk.loaded.cards()), "features", "squared-l2")
    return {
        "chosen": chosen,
        "opened": name == chosen,
        "summary": CATALOG[chosen].summary,
        "fields": setting_fields(chosen, metrics),
        "most": {"integer": LARGEST_COUNT, "number": LARGEST_LENGTH},
    }


def _route(path: str) -> None:
    async def show(request: Request, desk: AtDesk) -> Response:
        return await page(request, desk, path)

    router.add_api_route(path, show, methods=["GET"], name=PAGES[path][1])


for _path in PAGES:
    _route(_path)


@router.get("/login")
async def login_page() -> Response:
    """The form that asks for the token."""
    return render("login.html", {"wrong": False, "wanted": "/"})


@router.post("/login")
async def login(
    request: Request,
    token: Annotated[str, Form(max_length=500)] = "",
    wanted: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Take the token, and leave a cookie that proves it: this browser's, this server's.

    It goes on with the page that was ``wanted``.
    """
    known = request.app.state.token
    wanted = wanted if wanted in PAGES else "/"
    if known is not None and not await check_token(token, known):
        return render("login.html", {"wrong": True, "wanted": wanted}, 401)
    answer = RedirectResponse(wanted, 303)
    if known is not None:
        answer.set_cookie(
            COOKIE,
            session_of(known),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


@router.post("/logout")
async def logout() -> Response:
    """Forget the token in this browser."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
