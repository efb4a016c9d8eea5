"""Names of files as a store keeps them."""

import os


def path_key(path: str | os.PathLike[str]) -> str:
    r"""The absolute ``path`` as text that no other path gives, whatever bytes its name holds.

    Text that is no UTF-8 cannot be stored; such a path is escaped, and marked by ``bytes:``, with
    which no absolute path begins. Links are not resolved.

    >>> path_key("/photos/../a.png")
    '/a.png'
    >>> path_key(os.fsdecode(b"/caf\xe9.png"))
    'bytes:/caf\\xe9.png'
    """
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
        return f"bytes:{escaped}"
    return name
