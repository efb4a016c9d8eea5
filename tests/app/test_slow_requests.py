"""Connections that send their request too slowly, or never."""

import asyncio
import socket

import pytest
import uvicorn
from tests.waiting import PATIENCE

from percert.app.server import timed_protocol


async def _answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"well"})


async def _talk(send_slowly):
    config = uvicorn.Config(
        _answer, port=0, http=timed_protocol(0.5), lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await send_slowly(writer)
    heard = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    server.should_exit = True
    await task
    return heard


async def _nothing(writer):
    pass


async def _half(writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: local")


async def _half_of_a_second(writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(0.3)
    writer.write(b"GET / HT")


@pytest.mark.parametrize("slowly", [_nothing, _half, _half_of_a_second])
def test_a_request_that_does_not_arrive_is_answered_and_the_connection_closed(slowly):
    heard = asyncio.run(_talk(slowly))
    assert b"400 Bad Request" in heard
    assert b"The request did not arrive within 0.5 seconds." in heard
    assert (b"well" in heard) == (slowly is _half_of_a_second)


def test_a_request_that_arrives_in_time_is_answered():
    async def whole(writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        await asyncio.sleep(0.2)
        writer.write(b"Connection: close\r\n\r\n")

    heard = asyncio.run(_talk(whole))
    assert heard.startswith(b"HTTP/1.1 200")
    assert heard.endswith(b"well\r\n0\r\n\r\n")


def test_no_packet_of_an_answer_waits_for_an_acknowledgement():
    async def look():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(_answer, http=timed_protocol(5), lifespan="off")
            server = uvicorn.Server(config)
            task = asyncio.create_task(server._serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            (connection,) = server.server_state.connections
            opened = connection.transport.get_extra_info("socket")
            held = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.should_exit = True
            await task
            return held

    assert asyncio.run(look()) != 0
