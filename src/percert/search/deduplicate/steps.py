"""One step of a plan: done, looked for after a kill, undone; no file is ever written over.

A copy that is to be deleted goes into a hidden folder beside it, under its own name: the same disk,
the same owner. So does one in whose place a hard link comes. Each function returns why it left all
as it was, or ``None`` when it is done, and raises ``OSError`` where the system says no.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from percert.files import file_sha256
from percert.search.deduplicate.choices import Action
from percert.search.deduplicate.files import changed, same_file
from percert.search.deduplicate.plan import PlannedFile, PlannedStep
from percert.search.tables.files import key_path

#: The beginning of the name of a trash folder; the plan's digest follows.
TRASH = ".percert-trash-"
#: A hard link before it takes the file's place, in the trash folder.
_NEW_LINK = ".percert-link"
#: What a file system says that has no hard links, or not for this file.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
#: The SHA-256 of a file; a caller that asks often of one file may keep what it was.
Digest = Callable[[Path], str]


def target_of(action: Action, step: PlannedStep, digest: str) -> Path:
    """Where the file of ``step`` goes, in the plan whose bytes have the SHA-256 ``digest``."""
    if action == "move":
        return key_path(step.to or "")[0]
    place = step.file.place
    return place.parent / f"{TRASH}{digest[:12]}" / place.name


def why_not(step: PlannedStep, sha256: Digest = file_sha256) -> str | None:
    """Why ``step`` must not be done: one of its files is not what it was, or they are one."""
    kept = step.keep.place
    for file, said in ((step.file, ""), (step.keep, f"the file to keep, {step.keep.path}, ")):
        why = _changed(file, sha256)
        if why is not None:
            return said + why
    if same_file(step.file.place, kept):
        return f"is the same file as {step.keep.path}"
    return None


def _changed(file: PlannedFile, sha256: Digest) -> str | None:
    why = changed(file.place, file.bytes, file.mtime_ns)
    if why is None and sha256(file.place) != file.sha256:
        return "has changed since"
    return why


def do(action: Action, step: PlannedStep, target: Path) -> str | None:
    """Move the file of ``step`` to ``target``; with ``"hardlink"`` the kept one takes its place."""
    file, kept = step.file.place, step.keep.place
    if action == "move":
        target.parent.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if stat.S_ISLNK(os.lstat(target.parent).st_mode):
            return f"{target.parent} is a symbolic link"
    if os.path.lexists(target):
        return f"there is something else at {target}"
    if action != "hardlink":
        place(file, target)
        return None
    new = target.with_name(_NEW_LINK)
    try:
        new.unlink(missing_ok=True)
        os.link(kept, new)
        os.link(file, target)
        os.replace(new, file)
    except OSError as error:
        new.unlink(missing_ok=True)
        if same_file(file, target):
            target.unlink()
        _remove_folder(target)
        if error.errno == errno.EXDEV:
            return f"is on another file system than {step.keep.path}"
        if error.errno in _NO_LINKS:
            return "is on a file system without hard links"
        raise
    return None


def settle(action: Action, step: PlannedStep, target: Path) -> bool:
    """After a kill in the middle of ``step``: whether it was done, or else all is as before it."""
    file = step.file.place
    if os.path.lexists(target):
        if not os.path.lexists(file):
            return True
        if action == "hardlink" and same_file(file, step.keep.place):
            target.with_name(_NEW_LINK).unlink(missing_ok=True)
            return True
        # Both names are there: linked and not yet unlinked, or copied to another file system.
        if same_file(file, target) or _same_bytes(target, step.file):
            target.unlink()
    if action == "move":
        _unfinished(target).unlink(missing_ok=True)
    else:
        target.with_name(_NEW_LINK).unlink(missing_ok=True)
        _remove_folder(target)
    return False


def undo(action: Action, step: PlannedStep, target: Path) -> str | None:
    """Put the file of ``step`` back from ``target``, with the time of change that it had."""
    file = step.file.place
    if not os.path.lexists(target):
        if _changed(step.file, file_sha256) is not None:
            return f"is not in {target.parent} any more"
    elif not os.path.lexists(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        place(target, file)
    elif same_file(file, target):
        target.unlink()
    elif action == "hardlink" and _is_link_to_kept(step):
        os.replace(target, file)
    else:
        return f"there is something else now; what was here is {target}"
    if action != "move":
        _remove_folder(target)
    return None


def _is_link_to_kept(step: PlannedStep) -> bool:
    file = step.file.place
    return same_file(file, step.keep.place) or _same_bytes(file, step.file)


def purge(step: PlannedStep, target: Path, sha256: Digest = file_sha256) -> str | None:
    """Delete what lies at ``target`` for good, if the file that was kept is still what it was."""
    why = _changed(step.keep, sha256)
    if why is not None:
        return f"stays in the trash, for {step.keep.path} {why}"
    target.unlink(missing_ok=True)
    _remove_folder(target)
    return None


def place(source: Path, target: Path) -> None:
    """Move the file ``source`` to ``target``, never over another; to another file system, too.

    A kill leaves it at one of the two, or whole at both.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _copy(source, target)
        elif error.errno in _NO_LINKS:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "File exists", str(target)) from None
            os.rename(source, target)
            return
        else:
            raise
    try:
        source.unlink()
    except OSError:
        target.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    """A whole copy with the same times and rights, under its name once it is on the disk."""
    waiting = _unfinished(target)
    try:
        shutil.copy2(source, waiting)
        with waiting.open("r+b") as file:
            os.fsync(file.fileno())
        if file_sha256(waiting) != file_sha256(source):
            raise OSError(errno.EIO, "The copy is not what was copied", str(target))
        place(waiting, target)
    finally:
        waiting.unlink(missing_ok=True)


def _unfinished(target: Path) -> Path:
    """What a copy that is to become ``target`` is called before it is whole."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    return target.with_name(f".percert-{digest[:16]}.part")


def _same_bytes(path: Path, file: PlannedFile) -> bool:
    try:
        found = os.lstat(path)
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == file.bytes
            and file_sha256(path) == file.sha256
        )
    except OSError:
        return False


def _remove_folder(target: Path) -> None:
    """Remove the trash folder of ``target`` if nothing is left in it."""
    with contextlib.suppress(OSError):
        target.parent.rmdir()
