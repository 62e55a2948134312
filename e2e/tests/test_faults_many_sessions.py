"""Thousands of sessions at once, and a system that gives no more files: all are served, or told why not."""

import asyncio
import re
import time

import pytest

from harness import lean, system
from harness.program import eventually
from reference import profiles
from reference.crypto import Options

SESSIONS = 2000
KEEPALIVE_PING = 15
# The goal is 2.5 kB in an optimised build; this notices only what would be wrong in principle.
MEMORY_OF_ONE = 16 * 1024


async def each(clients, what):
    """Does something with all of them, a hundred at a time."""
    room = asyncio.Semaphore(100)

    async def one(client):
        async with room:
            return await what(client)

    return await asyncio.gather(*[one(client) for client in clients])


@pytest.mark.deadline(180)
async def test_two_thousand_idle_sessions_are_kept_and_answered(start_gateway, measured):
    system.many_files(SESSIONS + 200)
    # The gateway has to help itself to more files than it is given.
    gateway = start_gateway(within=system.limited("-Sn 256"))
    heard = []
    warm = [await lean.connect(gateway) for _ in range(20)]
    await each(warm, lambda client: client.round_trip())
    before = gateway.process.memory()
    begin = time.monotonic()
    clients = await each(range(SESSIONS), lambda _: lean.connect(gateway, lambda client, text: heard.append(text)))
    opened = time.monotonic() - begin
    grown = gateway.process.memory() - before
    trips = await each(clients, lambda client: client.round_trip())
    # Quiet from here on, but for pings.
    quiet = [client.pings for client in clients]
    await eventually(
        lambda: all(client.pings >= count + 2 for client, count in zip(clients, quiet, strict=True)),
        "two rounds of pings", patience=4 * KEEPALIVE_PING,
    )  # fmt: skip
    assert not any(client.closed.done() for client in clients)
    later = await each(clients, lambda client: client.round_trip())
    assert (await warm[0].set("0a11lamp0001", bright_value=77))["success"]
    await eventually(lambda: len(heard) == SESSIONS, "every session hears of a change", patience=20)
    after = gateway.process.memory() - before
    for client in [*clients, *warm[1:]]:
        client.hang_up()
    await eventually(lambda: gateway.process.open_files() < 100, "their sessions are given back", patience=30)
    await warm[0].round_trip()
    measured(
        f"{SESSIONS} sessions opened in {opened:.1f} s; {grown / SESSIONS:.0f} bytes each, {after / SESSIONS:.0f} after two rounds of pings, requests and an event; "
        f"slowest answer, a hundred at a time: {max(trips) * 1000:.0f} ms and {max(later) * 1000:.0f} ms"
    )
    assert grown / SESSIONS < MEMORY_OF_ONE
    assert not gateway.process.log_lines("WARN|ERROR"), gateway.process.story()


async def test_whoever_is_one_too_many_is_told(start_gateway):
    gateway = start_gateway(None, Options(), "--max-sessions", "5")
    clients = [await lean.connect(gateway) for _ in range(5)]
    more = [await lean.connect(gateway) for _ in range(3)]
    for client in more:
        assert await asyncio.wait_for(client.closed, 10) == 1013
        assert client.close_reason == "too many sessions"
    clients[0].hang_up()
    for _ in range(100):
        client = await lean.connect(gateway)
        try:
            await client.round_trip()
            break
        except ConnectionError:
            await asyncio.sleep(0.05)
    else:
        raise AssertionError("the place is not given back")
    await each(clients[1:], lambda client: client.round_trip())


@pytest.mark.deadline(90)
async def test_a_system_without_files_is_said_once_and_got_over(start_gateway, measured):
    gateway = start_gateway(profiles.home(profiles.SOCKET), within=system.limited("-n 48"))
    good = await lean.connect(gateway)
    waiting = [asyncio.create_task(lean.connect(gateway, patience=60)) for _ in range(100)]
    await eventually(lambda: gateway.process.log_lines("cannot accept"), "it is said", patience=20)
    begin = time.monotonic()
    slowest = 0.0
    while time.monotonic() - begin < 3:
        slowest = max(slowest, await good.round_trip())
    lines = gateway.process.log_lines("cannot accept")
    assert len(lines) == 1, gateway.process.story()
    assert re.search(r"open files.*--max-sessions", lines[0]), lines
    # Those who wait come in as places get free, and nobody is forgotten.
    while not all(task.done() for task in waiting):
        for task in waiting:
            if task.done():
                task.result().hang_up()
        waits = [task for task in waiting if not task.done()]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert done, "nobody comes in"
    for task in waiting:
        task.result().hang_up()
    newcomer = await lean.connect(gateway)
    await newcomer.round_trip()
    assert len(gateway.process.log_lines("cannot accept")) == 1, gateway.process.story()
    measured(f"slowest round trip of a session meanwhile: {slowest * 1000:.0f} ms")
