"""Adds a folder to a store, a line for each image once it is stored: run to be killed.

``python tests/search/adding.py STORE FOLDER COMMIT_IMAGES``
"""

import sys

import torch

from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.ingest.sources import AddSettings

if __name__ == "__main__":
    torch.set_num_threads(1)
    store, folder, commit_images = sys.argv[1:]
    opened = open_store(store, Thumbnail(8))
    settings = AddSettings(decoders=1, commit_images=int(commit_images))
    for outcome in opened.iter_add([folder], settings):
        print(outcome.what, outcome.id, outcome.path, flush=True)  # noqa: T201  # the test reads it
