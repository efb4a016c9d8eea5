"""A server on this machine that answers as Flickr's REST interface does, and counts who asked."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "0123456789abcdef0123456789abcdef"


def located(photo, latitude, longitude):
    """An answer as Flickr publishes it: numbers are text, names are in ``_content``."""
    return {
        "photo": {
            "id": photo,
            "location": {
                "latitude": str(latitude),
                "longitude": str(longitude),
                "accuracy": "16",
                "context": "0",
                "locality": {"_content": "Somewhere"},
                "country": {"_content": "Country", "woeid": "1"},
            },
        },
        "stat": "ok",
    }


def failed(code, message):
    return {"stat": "fail", "code": code, "message": message}


GONE = failed(1, "Photo not found")
NO_LOCATION = failed(2, "Photo has no location information.")


class FlickrServer:
    """``answers`` maps a photo to what is said of it: an answer, or a list of them, one a request.

    An answer is a dict (sent as JSON), a number (an HTTP status), ``(status, headers)``, bytes
    (sent as they are), or ``"slow"`` (nothing while the server runs).
    """

    def __init__(self, answers=None):
        self.answers = dict(answers or {})
        self.asked = Counter()
        self.times = []
        self.problems = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/services/rest/"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request):
        """What is said to the fields of a request; also notes what a client does wrong."""
        photo = request.get("photo_id", "")
        self.times.append(time.monotonic())
        if request.get("method") != "flickr.photos.geo.getLocation":
            return failed(112, f'Method "{request.get("method")}" not found')
        if (request.get("format"), request.get("nojsoncallback")) != ("json", "1"):
            return b"jsonFlickrApi({})"
        if request.get("api_key") != KEY:
            return failed(100, f"Invalid API Key (Key has invalid format) {request.get('api_key')}")
        self.asked[photo] += 1
        said = self.answers.get(photo, GONE)
        if isinstance(said, list):
            return said[min(self.asked[photo], len(said)) - 1]
        return said

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                if "api_key" in urlsplit(self.path).query:
                    server.problems.append("the key is in the address")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                said = server.answer({name: found[0] for name, found in parse_qs(body).items()})
                status, headers = 200, {}
                if said == "slow":
                    server.closing.wait()
                    said = GONE
                if isinstance(said, int):
                    status, said = said, b"<html>unavailable</html>"
                elif isinstance(said, tuple):
                    (status, headers), said = said, b""
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # the client has gone: it waits no longer, or was killed

            def log_message(self, *_):
                pass

        return Handler
