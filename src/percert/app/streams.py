"""How many progress streams are open at once."""

from collections.abc import AsyncIterator

from percert.app.refusal import Refused


class Streams:
    """At most ``most`` streams; each holds a connection for as long as its job goes on."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    def check(self) -> None:
        """:class:`Refused` (429) where there are as many as there may be."""
        if self.open >= self.most:
            raise Refused(429, f"{self.open} streams are open already: ask again later.")

    async def counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        """The events of a stream, which counts from the first of them to the last."""
        self.open += 1
        try:
            async for event in events:
                yield event
        finally:
            self.open -= 1
