"""The pages: each a form, with the fields of an attack and first examples to try.

What forms answer is in ``page_answers``, ``page_edits`` and ``page_jobs``. An attack's fields are
read from its dataclass.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from percert.app.api import describe
from percert.app.attack import LARGEST_COUNT, LARGEST_LENGTH, attacks_offered
from percert.app.compare import PairQuestion
from percert.app.context import Context, ServerContext
from percert.app.images import Upload
from percert.app.judge import TripletQuestion
from percert.app.middleware import COOKIE, check_token, session_of
from percert.app.templates import render
from percert.attacks.catalog import CATALOG

#: Settings that name files: no client may.
HIDDEN = ("checkpoint",)
#: Settings that name a metric, where they are no choice of the attack's own.
METRICS = ("cost", "metric")
#: What the fields of a form begin with.
PREFIX = "set-"


@dataclass(frozen=True)
class SettingField:
    """One setting: what it takes, and its default as text (empty: the attack's own rule)."""

    name: str
    kind: Literal["integer", "number", "choice", "text"]
    default: str
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name as a form shows it."""
        return self.name.replace("_", " ").capitalize()


def setting_fields(attack: str, metrics: tuple[str, ...] = ()) -> list[SettingField]:
    """The fields of an attack of the catalog. ``metrics`` may be its cost, where that is a metric.

    >>> [(one.name, one.kind, one.default) for one in setting_fields("ascent")][:2]
    [('step', 'number', '0.1'), ('steps', 'integer', '100')]
    >>> setting_fields("pgd")[0].choices
    ('l2', 'linf')
    """
    defaults = CATALOG.settings(attack)
    hints = get_type_hints(CATALOG.load(attack))
    made = []
    for field in fields(CATALOG.load(attack)):
        if field.name in HIDDEN:
            continue
        default = _text(defaults[field.name])
        kind, choices = _kind(hints[field.name])
        if kind == "text" and field.name in METRICS and metrics:
            kind, choices = "choice", tuple(dict.fromkeys((default, *metrics)))
        made.append(SettingField(field.name, kind, default, choices))
    return made


def attack_text(attack: str, given: Mapping[str, str]) -> str:
    """``NAME:key=value,...`` of a form's fields, those at their defaults left out.

    Raises ``ValueError`` for a value that would be more than one setting.

    >>> attack_text("ascent", {"set-steps": "20", "set-step": "0.1", "model": "mine"})
    'ascent:steps=20'
    >>> attack_text("ascent", {"set-steps": "20,step=3"})
    Traceback (most recent call last):
    ValueError: attack ascent: Steps: expected one value without a comma, found '20,step=3'
    """
    if attack not in CATALOG:
        return attack
    settings = []
    for field in setting_fields(attack):
        value = given.get(PREFIX + field.name, "").strip()
        if "," in value:
            raise ValueError(
                f"attack {attack}: {field.label}: expected one value without a comma, "
                f"found {value!r}"
            )
        if value not in ("", field.default):
            settings.append(f"{field.name}={value}")
    return f"{attack}:{','.join(settings)}" if settings else attack


def _kind(hint: Any) -> tuple[Literal["integer", "number", "choice", "text"], tuple[str, ...]]:
    kinds = set(_parts(hint))
    named = [one for one in _parts(hint) if get_origin(one) is Literal]
    if named:
        return "choice", tuple(str(value) for one in named for value in get_args(one))
    if bool in kinds:
        return "choice", ("True", "False")
    if float in kinds:
        return "number", ()
    return ("integer", ()) if int in kinds else ("text", ())


def _parts(hint: Any) -> Iterator[Any]:
    """The members of a union, or the hint itself."""
    if get_origin(hint) is Literal or not get_args(hint):
        yield hint
    else:
        for part in get_args(hint):
            yield from _parts(part)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


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


async def page(request: Request, context: ServerContext, path: str, **more: Any) -> Response:
    """The page at ``path``, with ``more`` for its template.

    ``again`` is after how many seconds a browser without scripts should ask once more.
    """
    template, title = PAGES[path]
    about = await describe(context, ask_store=path == "/search")
    navigation = [(address, name) for address, (_, name) in PAGES.items()]
    values = {"here": path, "title": title, "navigation": navigation, "about": about}
    if path == "/attack":
        values |= attack_values(context, request.query_params.get("attack", ""))
    values |= {"result": None, "again": None, "guarded": context.guarded}
    return render(template, {**values, **more})


def alone(request: Request, piece: str, address: str) -> Response:
    """A ``piece`` of a page for htmx; a browser without scripts is sent to its ``address``."""
    if "hx-request" in request.headers:
        return Response(piece, media_type="text/html")
    return RedirectResponse(address, 303)


async def whole(
    request: Request, context: ServerContext, path: str, piece: str, **more: Any
) -> Response:
    """A ``piece`` of a page for htmx; inside of the page at ``path`` for other browsers."""
    if "hx-request" in request.headers:
        return Response(piece, media_type="text/html")
    return await page(request, context, path, result=piece, **more)


def attack_values(context: ServerContext, name: str) -> dict[str, Any]:
    """The attack whose settings are shown, and its fields."""
    chosen = name if name in attacks_offered() else USUAL_ATTACK
    metrics = (*(card.name for card in context.resources.cards()), "features", "squared-l2")
    return {
        "chosen": chosen,
        "opened": name == chosen,
        "summary": CATALOG[chosen].summary,
        "fields": setting_fields(chosen, metrics),
        "most": {"integer": LARGEST_COUNT, "number": LARGEST_LENGTH},
    }


def _route(path: str) -> None:
    async def show(request: Request, context: Context) -> Response:
        return await page(request, context, path)

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


FOLDER = Path(__file__).parent / "examples"
CAT, COPY, COFFEE = "cat.jpg", "cat-reposted.jpg", "coffee.jpg"


def example_image(name: str) -> Upload:
    """One of the example photographs, as if a client had sent it."""
    return Upload(name, FOLDER / name)


def example_pair(candidate: str = COPY) -> PairQuestion:
    """A photograph, and a copy of it that was cropped, captioned and saved once more."""
    return PairQuestion(example_image(CAT), example_image(candidate))


def example_triplet() -> TripletQuestion:
    """The photograph, its copy, and another photograph."""
    return TripletQuestion(example_image(CAT), example_image(COPY), example_image(COFFEE))
