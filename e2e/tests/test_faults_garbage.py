"""A port scanner's worth of garbage: a good client works on and a new one gets in, log and memory stay bounded: section 4."""

import asyncio
import contextlib
import time

import pytest

from harness import bare, lean, system
from harness.files import WRONG_KEY_TEXT
from harness.program import eventually
from reference import crypto

CONNECTIONS = 3000
AT_ONCE = 150
HALF_OPEN = 2500
MEGABYTE = 1024 * 1024
# Handshakes under way are 1,024 at most; the rest is what allocators and counters keep.
MEMORY = 32 * MEGABYTE
LINES = 8
# Of a good client at most; much of it is for a busy machine.
ROUND_TRIP = 5.0
# What a TLS client says first, as far as it matters.
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes(157)


def upgrade():
    return bare.UPGRADE.format(path="/", host="x", key="AAAAAAAAAAAAAAAAAAAAAA==", more="").encode()


def frame(opcode, payload, first=0x80):
    return bytes([first | opcode, 0x80 | len(payload)]) + bytes(4) + payload


# What each says, in pieces; between them it waits for what comes.
SAYINGS = {
    "nothing": lambda seeded: [],
    "random bytes": lambda seeded: [seeded.randbytes(seeded.randrange(1, 2000))],
    "a TLS hello": lambda seeded: [TLS_HELLO],
    "a web browser": lambda seeded: [b"GET /index.html HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"],
    "SSH": lambda seeded: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "half an upgrade": lambda seeded: [upgrade()[: seeded.randrange(1, 150)]],
    "a long head": lambda seeded: [b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"y" * 20000],
    "an upgrade and no more": lambda seeded: [upgrade()],
    "an upgrade and random bytes": lambda seeded: [upgrade(), seeded.randbytes(300)],
    "a message that does not decrypt": lambda seeded: [upgrade(), frame(bare.BINARY, seeded.randbytes(64))],
    "a text message": lambda seeded: [upgrade(), frame(bare.TEXT, b'{"type":"auth","data":{"nonce":"","hmac":""}}')],
    "a huge frame": lambda seeded: [upgrade(), b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4) + b"x" * 100],
    "an unmasked frame": lambda seeded: [upgrade(), b"\x82\x10" + bytes(16)],
    "a reserved opcode": lambda seeded: [upgrade(), frame(0x0B, b"x")],
    "endless fragments": lambda seeded: [upgrade(), frame(bare.BINARY, b"x" * 16, 0)] + [frame(0, b"x" * 16, 0)] * 20,
    "pings": lambda seeded: [upgrade(), frame(bare.PING, b"x" * 100) * 50],
}


async def say(port, pieces, seeded):
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if piece is pieces[0] and len(pieces) > 1:
                    async with asyncio.timeout(5):
                        await reader.readuntil(b"\r\n\r\n")
            if seeded.random() < 0.5:
                async with asyncio.timeout(0.2):
                    await reader.read()
        finally:
            writer.transport.abort() if seeded.random() < 0.5 else writer.close()


async def works_on(client, done):
    """A good client's slowest round trip until done."""
    trips = []
    while not done.is_set():
        trips.append(await client.round_trip())
        assert (await client.set("0a11lamp0001", bright_value=20 + len(trips) % 900))["success"]
        await asyncio.sleep(0.02)
    return trips


@pytest.mark.deadline(120)
async def test_thousands_of_garbage_connections_disturb_nobody(start_gateway, seeded, measured):
    system.many_files(1000)
    gateway = start_gateway()
    good = await lean.connect(gateway)
    await good.round_trip()
    before, files, begin = gateway.process.memory("VmHWM"), gateway.process.open_files(), time.monotonic()
    done = asyncio.Event()
    working = asyncio.create_task(works_on(good, done))
    room = asyncio.Semaphore(AT_ONCE)
    entries = []

    async def one(number):
        async with room:
            await say(gateway.port, list(SAYINGS.values())[number % len(SAYINGS)](seeded), seeded)

    async def newcomers():
        while not done.is_set():
            start = time.monotonic()
            client = await lean.connect(gateway)
            entries.append(time.monotonic() - start)
            client.hang_up()
            await asyncio.sleep(0.3)

    coming = asyncio.create_task(newcomers())
    await asyncio.gather(*[one(number) for number in range(CONNECTIONS)])
    done.set()
    trips = await working
    await coming
    seconds = time.monotonic() - begin
    growth = gateway.process.memory("VmHWM") - before
    lines = len(gateway.process.log)
    measured(
        f"{CONNECTIONS} garbage connections in {seconds:.0f} s: slowest of {len(trips)} round trips {max(trips) * 1000:.0f} ms, slowest of {len(entries)} new sessions "
        f"{max(entries) * 1000:.0f} ms; {lines} lines in the log, memory grew by {growth / MEGABYTE:.1f} MiB"
    )
    assert gateway.process.process.poll() is None
    assert not gateway.process.log_lines("WARN|ERROR|panicked"), gateway.process.story()
    assert lines < LINES + 10 * seconds / 60, gateway.process.story()
    assert max(trips) < ROUND_TRIP and max(entries) < ROUND_TRIP
    assert growth < MEMORY
    await eventually(lambda: gateway.process.open_files() <= files, "their places are given back", patience=45)


@pytest.mark.deadline(120)
async def test_a_flood_of_half_open_handshakes_keeps_no_good_client_out(start_gateway, measured):
    """Connections that say nothing, or upgrade and say nothing more, or drip a byte now and then."""
    system.many_files(HALF_OPEN + 500)
    gateway = start_gateway()
    good = await lean.connect(gateway)
    before = gateway.process.memory("VmHWM")
    done = asyncio.Event()
    working = asyncio.create_task(works_on(good, done))
    flood = []

    async def half_open(number):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            flood.append(writer)
            if number % 3:
                writer.write(upgrade() if number % 3 == 1 else b"GET / HT")

    async def drip():
        while not done.is_set():
            for writer in list(flood)[2::3]:
                if not writer.is_closing():
                    writer.write(b"T")
            await asyncio.sleep(1)

    dripping = asyncio.create_task(drip())
    entries = []
    for start in range(0, HALF_OPEN, 100):
        await asyncio.gather(*[half_open(number) for number in range(start, start + 100)])
        begin = time.monotonic()
        client = await lean.connect(gateway)
        entries.append(time.monotonic() - begin)
        await client.round_trip()
        client.hang_up()
    done.set()
    trips = await working
    await dripping
    growth = gateway.process.memory("VmHWM") - before
    measured(
        f"{HALF_OPEN} half-open handshakes: slowest of {len(entries)} new sessions {max(entries) * 1000:.0f} ms, slowest round trip {max(trips) * 1000:.0f} ms; "
        f"memory grew by {growth / MEGABYTE:.1f} MiB"
    )
    assert max(entries) < ROUND_TRIP and max(trips) < ROUND_TRIP
    assert growth < MEMORY
    assert len(gateway.process.log) < LINES, gateway.process.story()
    for writer in flood:
        writer.transport.abort()
    # A right key is never refused, whatever came from this address.
    await (await lean.connect(gateway)).round_trip()


@pytest.mark.deadline(60)
async def test_failures_are_told_once_a_minute_with_the_address(start_gateway):
    gateway = start_gateway()
    wrong = crypto.parse_key(WRONG_KEY_TEXT)

    async def fail():
        async with gateway.dial() as link:
            nonce = await link.challenge(gateway.key)
            await link.send(link.answer(wrong, nonce, crypto.fresh_nonce()), gateway.key)
            assert (await link.closed())[0].code == 1008

    await asyncio.gather(*[fail() for _ in range(18)])
    lines = await eventually(lambda: gateway.process.log_lines("failed handshake"), "a word in the log")
    assert len(lines) == 1 and "127.0.0.1" in lines[0], gateway.process.story()
