"""Docstrings as help texts."""

import inspect


def flowing(docstring: str | None) -> str:
    r"""The paragraphs of a docstring, each in one line, for the terminal to wrap.

    >>> flowing("One.\n\n    Two\n    and three.")
    'One.\n\nTwo and three.'
    """
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
