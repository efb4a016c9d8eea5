"""The README as an index of packages shows it, where a link into this repository leads nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Writes ``readme`` of the metadata.

    ``address`` in ``[tool.hatch.metadata.hooks.custom]`` is where this version's files lie on the
    web, with a slash at its end; without one, relative links become plain text.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = standalone(text, self.config.get("address"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def standalone(text: str, address: str | None) -> str:
    """Markdown whose relative links lead to ``address``, or, without one, are their own text."""

    def absolute(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if re.match(r"https?:|mailto:|#", target):
            return link[0]
        if address is not None:
            return f"{picture}[{words}]({address}{target})"
        return f"*{words}*" if picture else words

    return LINK.sub(absolute, text)
