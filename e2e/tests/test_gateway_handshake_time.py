"""How long the gateway waits for a handshake, and how it slows down who fails too often: section 4."""

import asyncio
import time

import pytest

from harness import bare
from reference import crypto
from reference.client import dial

FREE_FAILURES = 20


async def test_ten_seconds_from_the_connection_to_auth_ok(gateway):
    """Four kinds of slowness at the same time, as each takes ten seconds."""
    begin = time.monotonic()

    async def says_nothing():
        async with gateway.dial() as link:
            await link.challenge(gateway.key)
            close, said = await link.closed(patience=30)
            assert (close.code, said) == (1008, [])
        return time.monotonic() - begin

    async def only_pings():
        async with gateway.dial() as link:
            await link.challenge(gateway.key)
            closing = asyncio.create_task(link.closed(patience=30))
            while not closing.done():
                await asyncio.wait([closing], timeout=1)
                if not closing.done():
                    await link.socket.ping()
            assert (await closing)[0].code == 1008
        return time.monotonic() - begin

    async def never_upgrades():
        async with bare.connect(gateway.port) as socket:
            async with asyncio.timeout(30):
                await socket.reader.read()
        return time.monotonic() - begin

    async def sends_half_a_frame():
        async with bare.connect(gateway.port) as socket:
            await socket.upgrade(f"127.0.0.1:{gateway.port}")
            await socket.send(bare.BINARY, b"0123456789abcdef", final=False)
            async with asyncio.timeout(30):
                while (await socket.receive(patience=30)).opcode != bare.CLOSE:
                    pass
        return time.monotonic() - begin

    for seconds in await asyncio.gather(says_nothing(), only_pings(), never_upgrades(), sends_half_a_frame()):
        assert 9 < seconds < 20, "ten seconds, and what a busy machine takes"
    async with gateway.connect() as session:
        assert await session.request("get_devices")


async def fail(gateway, sent=None):
    """A failed handshake; gives the seconds from `auth` to the close."""
    async with gateway.dial() as link:
        nonce = await link.challenge(gateway.key)
        begin = time.monotonic()
        await link.send(link.answer(bytes(16), nonce, crypto.fresh_nonce()), gateway.key)
        if sent:
            sent.set()
        close, said = await link.closed(patience=40)
        assert (close.code, close.reason, said) == (1008, "authentication failed", [])
        return time.monotonic() - begin


async def test_who_fails_too_often_waits_and_a_right_key_does_not(gateway):
    async with gateway.connect() as old_session:
        # Two more than are free, so that the next one is held back for two seconds.
        for _ in range(FREE_FAILURES + 2):
            await fail(gateway)
        sent = asyncio.Event()
        late = asyncio.create_task(fail(gateway, sent))
        await sent.wait()
        # A success that the gateway saw before this failure would clear the count.
        await asyncio.wait({late}, timeout=0.5)
        assert not late.done()
        assert await old_session.request("get_devices")
        async with gateway.connect() as new_session:
            assert await new_session.request("get_devices")
        assert await late >= 1.98
        # The success has cleared it, so failures are quick again.
        assert min([await fail(gateway) for _ in range(3)]) < 0.45


async def test_the_first_twenty_failures_are_answered_at_once(gateway):
    times = sorted([await fail(gateway) for _ in range(FREE_FAILURES)])
    assert times[FREE_FAILURES // 2] < 0.45, times


async def test_the_delay_grows(gateway):
    for _ in range(FREE_FAILURES):
        await fail(gateway)
    first, second = await fail(gateway), await fail(gateway)
    assert first >= 0.49
    assert second >= 0.98


async def test_a_connection_that_ends_unheard_is_no_failure(gateway):
    for _ in range(FREE_FAILURES + 5):
        async with gateway.dial() as link:
            await link.challenge(gateway.key)
    for _ in range(FREE_FAILURES + 5):
        async with bare.connect(gateway.port):
            pass
    assert min([await fail(gateway) for _ in range(3)]) < 0.45


async def test_a_failed_guess_costs_others_nothing(gateway):
    """Another address is not slowed down."""
    for _ in range(FREE_FAILURES + 1):
        await fail(gateway)
    try:
        times = []
        for _ in range(3):
            async with dial(gateway.url, gateway.options, local_addr=("127.0.0.9", 0)) as link:
                nonce = await link.challenge(gateway.key)
                begin = time.monotonic()
                await link.send(link.answer(bytes(16), nonce, crypto.fresh_nonce()), gateway.key)
                assert (await link.closed())[0].code == 1008
                times.append(time.monotonic() - begin)
        assert min(times) < 0.45, times
    except OSError as error:
        pytest.skip(f"no second loopback address here: {error}")
