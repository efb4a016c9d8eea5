"""Connections: no answer waits for more to send, no request is waited for without end."""

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, closing a connection whose request's head takes more than ``seconds``.

    It counts from the opening of the connection, and from the first byte of each further request;
    uvicorn itself would wait for ever. What uvicorn calls is extended, not replaced.
    """

    class Impatient(H11Protocol):
        _alarm: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            # asyncio sets it on sockets of its own making only. Without it, an answer's last packet
            # waits for the acknowledgement of the one before: 40 ms on a connection that is kept.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._arm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._arm()
            else:
                self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _arm(self) -> None:
            if self._alarm is None:
                self._alarm = self.loop.call_later(seconds, self._too_slow)

        def _disarm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        def _too_slow(self) -> None:
            self._alarm = None
            if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
                self.send_400_response(f"The request did not arrive within {seconds:g} seconds.")

    return Impatient
