"""Whether a file is the one that the paper used: by its digest, and by nothing else."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from experiments.papers.item import Setting, StandIn
from percert.files import file_sha256
from percert.metrics.deep.weight_files import WeightFile

#: In the data folder: the digests of files that the user knows to be the authors', where nobody
#: publishes one, as ``sha256sum`` writes them.
VOUCHED = "SHA256SUMS"


def weights_stand(setting: Setting, what: str, files: Sequence[Path]) -> StandIn | None:
    """``None`` where all ``files`` are vouched for in :data:`VOUCHED`: then they are ``what``."""
    known = vouched(setting)
    strange = [(file, digest) for file in files if (digest := _digest(file)) not in known]
    if files and not strange:
        return None
    said = ", ".join(f"{file.name} (sha256 {digest[:16]}...)" for file, digest in strange[:2])
    more = f" and {len(strange) - 2} more" if len(strange) > 2 else ""
    return StandIn(what, f"{said or 'no file'}{more}, whose digest is not in DATA/{VOUCHED}")


def published_stand(
    setting: Setting, what: str, folder: Path, files: Sequence[WeightFile]
) -> StandIn | None:
    """As :func:`weights_stand`, of files in ``folder``; a digest that is published does as well."""
    strange = []
    for file in files:
        found = [folder / name for name in file.names if (folder / name).is_file()]
        if not found or not file.sha256 or not _digest(found[0]).startswith(file.sha256):
            strange += found[:1]
    return weights_stand(setting, what, strange) if strange else None


def vouched(setting: Setting) -> frozenset[str]:
    """The digests in the data folder's :data:`VOUCHED`, none where it is not there.

    Raises ``ValueError`` for a line that is none of ``sha256sum``'s.
    """
    path = None if setting.data is None else setting.data / VOUCHED
    if path is None or not path.is_file():
        return frozenset()
    found = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        digest = line.split(" ")[0].lower()
        if line.strip() and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
            raise ValueError(
                f"{path}: line {number}: expected 64 hexadecimal digits and a name, as sha256sum "
                f"writes them, found {line[:80]!r}"
            )
        found.add(digest)
    return frozenset(found - {""})


def _digest(path: Path) -> str:
    seen = path.stat()
    return _digest_of(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=256)
def _digest_of(path: Path, changed: int, size: int) -> str:
    """Of half a gigabyte, which many items ask for; ``changed`` and ``size`` tell another file."""
    del changed, size
    return file_sha256(path)
