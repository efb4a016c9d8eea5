"""How much one client may ask of the server."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every limit of the server; what is above gets a 4xx answer that says why.

    ``upload_bytes`` is for all files of one request together, ``receive_seconds`` for its body to
    arrive, of which something must come every ``stall_seconds``; all requests together hold at
    most ``held_uploads`` times ``upload_bytes``. ``pixels`` is for one image; images that a
    classifier is attacked on are first reduced to ``attack_side`` pixels on their longer side.
    ``jobs`` attacks run at once, for at most ``job_seconds`` each, and ``waiting_jobs`` wait; what
    is asked otherwise is answered ``questions`` at a time within ``answer_seconds``, while
    ``waiting_questions`` wait. The last ``kept_jobs`` results are kept, for ``kept_seconds``, and
    so are the files that answers of the pages were made of, ``kept_bytes`` of them. Of tables:
    ``rows``, ``columns``, ``groups`` and ``models``. ``streams`` progress streams are open at once.

    >>> Limits(jobs=0)
    Traceback (most recent call last):
    ValueError: jobs: expected at least 1, found 0
    """

    upload_bytes: int = 32 * 2**20
    held_uploads: int = 8
    receive_seconds: float = 60.0
    stall_seconds: float = 10.0
    pixels: int = 16_000_000
    attack_side: int = 320
    questions: int = 2
    waiting_questions: int = 128
    answer_seconds: float = 60.0
    jobs: int = 1
    waiting_jobs: int = 8
    job_seconds: float = 120.0
    kept_jobs: int = 32
    kept_seconds: float = 1800.0
    kept_bytes: int = 256 * 2**20
    streams: int = 64
    rows: int = 200_000
    columns: int = 64
    groups: int = 1000
    models: int = 50

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name.startswith("waiting") else 1
            if isinstance(value, float):
                if not value > 0:
                    raise ValueError(f"{field.name}: expected more than 0 seconds, found {value}")
            elif value < least:
                raise ValueError(f"{field.name}: expected at least {least}, found {value}")
