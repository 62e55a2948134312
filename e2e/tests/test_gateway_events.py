"""Events: every session hears every one of them, under one number, in one order with the responses: section 6."""

import asyncio
import contextlib
import socket

import pytest

from reference import client, profiles
from reference.profiles import point, profile

LAMP, SOCKET, ODD = "0a11lamp0001", "0a11socket02", "7c20odd00004"


async def test_a_write_is_told_to_every_session_under_the_same_id(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.connect() as writer, gateway.connect() as other:
        assert (await writer.set(LAMP, bright_value=321))["success"] is True
        event = await writer.event("state_changed")
        assert event["data"] == {"devid": LAMP, "value": [{"k": "bright_value", "v": 321}]}
        assert set(event) == {"id", "type", "event_type", "data"}
        assert await other.event("state_changed") == event


async def test_ids_count_up_by_one_for_all_sessions_alike(gateway):
    async with gateway.connect() as early:
        for value in range(20, 25):
            await early.set(LAMP, bright_value=value)
        await early.first(lambda m: len(early.events()) == 5)
        async with gateway.connect() as late:
            for value in range(30, 35):
                await late.set(LAMP, bright_value=value)
            await late.first(lambda m: len(late.events()) == 5)
            await early.first(lambda m: len(early.events()) == 10)
            ids = [e["id"] for e in early.events()]
            assert ids == list(range(ids[0], ids[0] + 10))
            assert late.events() == early.events()[5:]


async def test_a_write_of_an_equal_value_is_an_event(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.connect() as session, gateway.connect() as other:
        for _ in range(3):
            assert (await session.set(SOCKET, switch_1=False))["success"] is True
        for listener in (session, other):
            events = [await listener.event("state_changed", SOCKET) for _ in range(3)]
            assert all(e["data"]["value"] == [{"k": "switch_1", "v": False}] for e in events)
            assert [e["id"] - events[0]["id"] for e in events] == [0, 1, 2]


async def test_a_write_only_point_makes_no_event(gateway):
    async with gateway.connect() as session:
        assert (await session.set(ODD, identify=True))["success"] is True
        await session.set(SOCKET, switch_1=True)
        event = await session.event()
        assert event["data"]["devid"] == SOCKET


async def test_a_refused_write_makes_no_event(gateway):
    async with gateway.connect() as session, gateway.connect() as other:
        await session.set(LAMP, bright_value=1, switch_led=True)
        await session.set(SOCKET, switch_1=True)
        for listener in (session, other):
            assert (await listener.event())["data"]["devid"] == SOCKET


async def test_a_status_read_after_an_event_is_not_older_than_it(gateway):
    async with gateway.connect() as writer, gateway.connect() as reader:
        for value in range(100, 130):
            await writer.set(LAMP, bright_value=value)
            event = await reader.event("state_changed", LAMP)
            seen = profiles.values_of(event["data"])["bright_value"]
            assert profiles.values_of(await reader.status(LAMP))["bright_value"] >= seen


async def test_no_event_needs_a_subscription_nor_arrives_from_the_past(gateway):
    async with gateway.connect() as writer:
        await writer.set(LAMP, bright_value=20)
        await writer.event()
        async with gateway.connect() as late:
            await writer.set(LAMP, bright_value=30)
            assert profiles.values_of((await late.event())["data"])["bright_value"] == 30


async def test_events_come_to_many_sessions(gateway):
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(gateway.connect()) for _ in range(40)]
        for value in range(100, 120):
            await sessions[0].set(LAMP, bright_value=value)
        for session in sessions:
            await session.first(lambda m, s=session: len(s.events()) == 20)
        assert all(s.events() == sessions[0].events() for s in sessions)


async def test_a_session_that_ends_does_not_disturb_the_others(gateway):
    async with gateway.connect() as stays:
        async with gateway.connect() as leaves:
            await leaves.set(LAMP, bright_value=20)
        async with gateway.dial() as link:
            await link.authenticate(gateway.key)
            link.socket.transport.abort()
        await stays.set(LAMP, bright_value=30)
        values = [profiles.values_of((await stays.event())["data"])["bright_value"] for _ in range(2)]
        assert values == [20, 30]


TEXTS = 300
LENGTH = 60_000


@pytest.mark.deadline(90)
async def test_a_session_that_does_not_read_is_told_the_newest_or_closed_and_disturbs_nobody(start_gateway):
    """It may find merged events behind a visible gap, or have been closed with 1013; never an old value as the newest."""
    text = [point("text", "String", maxlen=100_000)]
    gateway = start_gateway([profile("aa00board", "qt", "Board", function=text, status=text, text="")])
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, (gateway.host, gateway.port))
    async with gateway.connect() as healthy, gateway.connect(sock=narrow, max_queue=1) as stalled:
        stalled.stop_reading()
        for number in range(TEXTS):
            response = await healthy.set("aa00board", text=f"{number:06d}" + "x" * LENGTH)
            assert response["success"] is True
        await healthy.first(lambda m: len(healthy.events()) == TEXTS)
        ids = [e["id"] for e in healthy.events()]
        assert ids == list(range(ids[0], ids[0] + TEXTS)), "a session that keeps up gets everything"

        await stalled.read_on()
        newest = healthy.events()[-1]
        try:
            assert await stalled.first(lambda m: m.get("id") == newest["id"], patience=30) == newest
        except client.ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 1013
        seen = [e["id"] for e in stalled.events()]
        assert seen == sorted(set(seen))
        assert len(seen) < TEXTS, "what was not read cannot have been kept: the backlog is bounded"
