"""Paths as text that can be stored, printed, and used for a file of another kind."""

import hashlib
import os

#: The longest name of a file, in bytes, on the usual file systems.
LONGEST = 255


def printable_path(path: str | os.PathLike[str]) -> str:
    r"""``path`` as UTF-8 text: bytes that are none are written as escapes.

    >>> printable_path(os.fsdecode(b"caf\xe9.png"))
    'caf\\xe9.png'
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    return text


def fitting_name(name: str, suffix: str = "") -> str:
    """``name + suffix``, shortened where no file could be called so: a hash takes the end's place.

    >>> fitting_name("photo", ".png"), len(fitting_name("x" * 252, ".png"))
    ('photo.png', 255)
    """
    whole = os.fsencode(name + suffix)
    if len(whole) <= LONGEST:
        return name + suffix
    digest = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    room = LONGEST - len(os.fsencode(suffix)) - len(digest)
    return os.fsencode(name)[:room].decode("utf-8", "ignore") + digest + suffix
