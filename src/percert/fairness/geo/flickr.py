"""Where photographs were taken, asked of Flickr one by one: ``flickr.photos.geo.getLocation``."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from percert.extras import install_extra

if TYPE_CHECKING:
    import httpx

ENDPOINT = "https://api.flickr.com/services/rest/"
#: Where the key is taken from. It is sent to Flickr, and neither shown nor stored anywhere.
KEY_VARIABLE = "FLICKR_API_KEY"

_STATIC = re.compile(r"^(\d+)_[0-9a-f]+(?:_\w+)?\.\w+$", re.IGNORECASE)
_BASE58 = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
# Codes of Flickr's answers.
_GONE, _NO_LOCATION, _BAD_KEY, _TRY_AGAIN = 1, 2, 100, (0, 105, 106)
# Asked to wait for longer than this (in seconds), a run had better be started again later.
_LONGEST_WAIT = 600.0


@dataclass(frozen=True)
class Answer:
    """What Flickr says of a photo.

    ``status`` is "located", "gone" (not there, or not for the public) or "no-location".
    ``accuracy`` is Flickr's scale from 1 (the world) to 16 (a street), where it gives one.
    """

    photo: str
    status: Literal["located", "gone", "no-location"]
    latitude: float | None = None
    longitude: float | None = None
    accuracy: int | None = None


@dataclass(frozen=True)
class Unanswered:
    """A photo of which no answer could be had, and why; to be asked for again another time."""

    photo: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FlickrSettings:
    """How to ask. ``rate`` is requests a second: Flickr allows a key 3,600 an hour.

    A failed request is made up to ``retries`` more times, after ``backoff`` seconds and then twice
    as long each time (and as long as Flickr asks for, where it does). After ``give_up`` photos in
    a row without an answer the run stops.
    """

    endpoint: str = ENDPOINT
    rate: float = 1.0
    timeout: float = 20.0
    retries: int = 5
    backoff: float = 2.0
    give_up: int = 3

    def __post_init__(self) -> None:
        address = urlsplit(self.endpoint)
        local = address.hostname in ("localhost", "127.0.0.1", "::1")
        if address.scheme != "https" and not (address.scheme == "http" and local):
            raise ValueError(
                f"endpoint: expected an https address, as the key travels there, "
                f"found {self.endpoint!r}"
            )
        if not 0 < self.rate <= 1000:
            raise ValueError(f"rate: expected requests a second in (0, 1000], found {self.rate}")
        if not (self.timeout > 0 and self.retries >= 0 and self.backoff >= 0 and self.give_up > 0):
            raise ValueError(
                "timeout and give_up must be positive, retries and backoff not negative"
            )


def photo_id(address: str) -> str | None:
    """The id of the photo that an address at Flickr shows; ``None`` for any other address.

    >>> photo_id("http://farm4.static.flickr.com/3175/2737866473_7958dc8760.jpg")
    '2737866473'
    >>> photo_id("https://www.flickr.com/photos/somebody/2737866473/in/album-1")
    '2737866473'
    >>> photo_id("https://flic.kr/p/5aWhjn"), photo_id("http://example.com/1_a.jpg")
    ('2737866473', None)
    """
    try:
        parts = urlsplit(address.strip())
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    pieces = [piece for piece in parts.path.split("/") if piece]
    if host == "flic.kr" and len(pieces) == 2 and pieces[0] == "p":
        return _from_base58(pieces[1])
    if not any(
        host == name or host.endswith("." + name) for name in ("flickr.com", "staticflickr.com")
    ):
        return None
    if pieces[:1] == ["photos"]:
        return pieces[2] if len(pieces) > 2 and pieces[2].isdecimal() else None
    found = _STATIC.match(pieces[-1]) if pieces else None
    return found[1] if found else None


def _from_base58(text: str) -> str | None:
    number = 0
    for letter in text:
        if letter not in _BASE58:
            return None
        number = 58 * number + _BASE58.index(letter)
    return str(number)


class _TryAgainError(Exception):
    """No answer this time; ``wait`` is how long Flickr asks to wait, in seconds, if it does."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def ask_locations(
    photos: Iterable[str],
    key: str,
    settings: FlickrSettings | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer | Unanswered]:
    """Ask for each of ``photos``, in order and at the settings' pace. Needs httpx.

    The key goes into the body of the requests, not into addresses, which end up in logs. Raises
    ``ValueError`` where Flickr refuses the key or the request, asks to wait for more than ten
    minutes, or leaves several photos in a row unanswered.
    """
    try:
        import httpx
    except ImportError:
        raise ValueError(f"asking Flickr needs httpx: {install_extra('geo')}") from None
    settings = settings or FlickrSettings()
    if not key.strip():
        raise ValueError(f"no API key: set the environment variable {KEY_VARIABLE} to Flickr's")
    ready = clock()

    def pace() -> None:
        nonlocal ready
        if (early := ready - clock()) > 0:
            sleep(early)
        ready = clock() + 1 / settings.rate

    in_a_row = 0
    with httpx.Client(timeout=settings.timeout, follow_redirects=False) as client:
        for photo in photos:
            found = _ask_until(client, photo, key, settings, pace, sleep)
            yield found
            in_a_row = in_a_row + 1 if isinstance(found, Unanswered) else 0
            if isinstance(found, Unanswered) and in_a_row >= settings.give_up:
                raise ValueError(
                    f"Flickr did not answer for {in_a_row} photos in a row, each asked "
                    f"{settings.retries + 1} times ({found.reason}); run again to go on"
                )


def _ask_until(
    client: "httpx.Client",
    photo: str,
    key: str,
    settings: FlickrSettings,
    pace: Callable[[], None],
    sleep: Callable[[float], None],
) -> Answer | Unanswered:
    """Ask for one photo, and again where that may help."""
    reason = ""
    for attempt in range(settings.retries + 1):
        pace()
        try:
            return _ask(client, photo, key, settings.endpoint)
        except _TryAgainError as error:
            reason = str(error)
            if attempt < settings.retries:
                sleep(max(settings.backoff * 2**attempt, error.wait))
    return Unanswered(photo, reason)


def _ask(client: "httpx.Client", photo: str, key: str, endpoint: str) -> Answer:
    import httpx

    request = {
        "method": "flickr.photos.geo.getLocation",
        "api_key": key,
        "photo_id": photo,
        "format": "json",
        "nojsoncallback": "1",
    }
    try:
        response = client.post(endpoint, data=request)
    except httpx.TimeoutException:
        raise _TryAgainError("no answer in time") from None
    except httpx.TransportError as error:
        raise _TryAgainError(f"no connection: {_without(key, str(error))}") from None
    status = response.status_code
    if status == 429 or status >= 500:
        wait = _wanted_wait(response.headers.get("Retry-After", ""))
        if wait > _LONGEST_WAIT:
            raise ValueError(
                f"Flickr asks to wait {wait:.0f} s (HTTP {status}); run again to go on then"
            )
        raise _TryAgainError(f"HTTP {status}", wait)
    if status != 200:
        raise ValueError(f"Flickr refused the request: HTTP {status}")
    try:
        found = json.loads(response.content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise _TryAgainError("an answer that is not JSON") from None
    return _understood(found, photo, key)


def _understood(found: Any, photo: str, key: str) -> Answer:
    if not isinstance(found, dict) or found.get("stat") not in ("ok", "fail"):
        raise _TryAgainError("an answer of an unknown form")
    if found["stat"] == "fail":
        written = str(found.get("code"))
        code = int(written) if written.isdecimal() else -1
        if code == _GONE:
            return Answer(photo, "gone")
        if code == _NO_LOCATION:
            return Answer(photo, "no-location")
        said = _without(key, str(found.get("message", "no reason given")))
        if code in _TRY_AGAIN:
            raise _TryAgainError(f"Flickr's code {code}: {said}")
        if code == _BAD_KEY:
            raise ValueError(f"Flickr does not accept the key in {KEY_VARIABLE}: {said}")
        raise ValueError(f"Flickr refused the request, code {code}: {said}")
    try:
        place = found["photo"]["location"]
        # Flickr writes numbers as text, and not always.
        latitude, longitude = float(place["latitude"]), float(place["longitude"])
        accuracy = int(place["accuracy"]) if "accuracy" in place else None
    except (KeyError, TypeError, ValueError):
        raise _TryAgainError("an answer without latitude and longitude") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise _TryAgainError(f"a place that is not on the map: {latitude}, {longitude}")
    return Answer(photo, "located", latitude, longitude, accuracy)


def _wanted_wait(header: str) -> float:
    """Retry-After in seconds, which is a number or a date; 0 where it is neither."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _without(key: str, text: str) -> str:
    return text.replace(key, "(key)")
