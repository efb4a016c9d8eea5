"""First examples: the photographs in ``examples``, and a table that is made up."""

from pathlib import Path

from percert.app.pair_answer import PairQuestion
from percert.app.triplet_answer import TripletQuestion
from percert.app.uploads import Upload

FOLDER = Path(__file__).parent / "examples"
CAT, COPY, COFFEE = "cat.jpg", "cat-reposted.jpg", "coffee.jpg"


def example_image(name: str) -> Upload:
    """One of the photographs, as if a client had sent it."""
    return Upload(name, FOLDER / name)


def example_pair(candidate: str = COPY) -> PairQuestion:
    """A photograph, and a copy of it that was cropped, captioned and saved once more."""
    return PairQuestion(example_image(CAT), example_image(candidate))


def example_triplet() -> TripletQuestion:
    """The photograph, its copy, and another photograph."""
    return TripletQuestion(example_image(CAT), example_image(COPY), example_image(COFFEE))
