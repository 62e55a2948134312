"""Keep-alive: either side pings after 15 s of silence and gives up after 45 s without a byte: section 3.

All four cases wait at the same time, as they are slow. The upper bounds have some ten seconds for a busy machine.
"""

import asyncio
import contextlib
import time

import pytest

from harness import bare
from harness.files import KEY_TEXT
from harness.program import eventually
from reference import client, crypto, wire
from reference.gateway import Gateway


async def a_silent_client_is_pinged_and_then_closed(gateway):
    """A session that answers no ping."""
    async with bare.connect(gateway.port) as socket:
        await authenticate(socket, gateway)
        last_byte = time.monotonic()
        ping = await socket.receive(patience=35)
        assert ping.opcode == bare.PING
        assert 13 < time.monotonic() - last_byte < 29
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(60):
                while (await socket.receive(patience=60)).opcode != bare.CLOSE:
                    pass
        assert 42 < time.monotonic() - last_byte < 62


async def a_quiet_client_that_answers_pings_stays(gateway):
    async with gateway.connect() as session:
        await asyncio.sleep(47)
        assert await session.request("get_devices")


async def a_silent_gateway_is_pinged_and_then_given_up(spawn, key_file, key):
    """A gateway that authenticates and answers, and then goes dead without closing anything."""
    frozen, given_up = asyncio.Event(), asyncio.Event()
    async with Gateway(key) as gateway:

        async def serve(reader, writer):
            await relay(reader, writer, gateway.port, frozen)
            given_up.set()

        relaying = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = relaying.sockets[0].getsockname()[1]
        spawn("watch", "--json", "--gateway", f"ws://127.0.0.1:{port}", "--key-file", key_file)
        session = await eventually(lambda: gateway.authenticated and gateway.authenticated[0], "a session")
        await eventually(lambda: session.asked("get_devices"), "a first reading")
        await asyncio.sleep(1)
        frozen.set()
        dead_since = time.monotonic()
        async with asyncio.timeout(70):
            await given_up.wait()
        assert 40 < time.monotonic() - dead_since < 66
        relaying.close()


async def a_quiet_gateway_that_answers_pings_is_kept(spawn, key_file, key):
    async with Gateway(key) as gateway:
        watch = spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file)
        session = await eventually(lambda: gateway.authenticated and gateway.authenticated[0], "a session")
        await asyncio.sleep(47)
        event = await gateway.push("state_changed", {"devid": "0a11lamp0001", "value": [{"k": "switch_led", "v": True}]})
        await eventually(lambda: watch.output, "the event")
        assert watch.output[-1].encode() == wire.encode(event)
        assert session.close_code is None


async def relay(reader, writer, port, frozen):
    """Passes bytes on until frozen, and then swallows them; returns when the client hangs up."""
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source, target):
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not frozen.is_set():
                    target.write(data)

    backwards = asyncio.create_task(copy(inner_reader, writer))
    await copy(reader, inner_writer)
    backwards.cancel()
    inner_writer.close()
    writer.close()


async def authenticate(socket, gateway):
    await socket.upgrade("x")
    link = client.Link(None, gateway.options)
    challenge = wire.decode(crypto.decrypt(gateway.key, (await socket.receive()).payload))
    nonce_s, nonce_c = crypto.from_base64(challenge["data"]["nonce"]), crypto.fresh_nonce()
    await socket.send(bare.BINARY, crypto.encrypt(gateway.key, wire.encode(link.answer(gateway.key, nonce_s, nonce_c))))
    assert b"auth_ok" in crypto.decrypt(gateway.key, (await socket.receive()).payload)


@pytest.mark.deadline(120)
async def test_silence_is_noticed_and_quiet_is_not_silence(start_gateway, spawn, key_file, key):
    gateway = start_gateway(key_text=KEY_TEXT)
    await asyncio.gather(
        a_silent_client_is_pinged_and_then_closed(gateway),
        a_quiet_client_that_answers_pings_stays(gateway),
        a_silent_gateway_is_pinged_and_then_given_up(spawn, key_file, key),
        a_quiet_gateway_that_answers_pings_is_kept(spawn, key_file, key),
    )


async def test_a_client_answers_pings(spawn, key_file, key):
    async with Gateway(key) as gateway:
        spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file)
        session = await eventually(lambda: gateway.authenticated and gateway.authenticated[0], "a session")
        async with asyncio.timeout(10):
            await (await session.socket.ping(b"hello"))
