"""`watch` of the program: every event as it came, one a line, at once; and what the client does about gaps."""

import asyncio
import json
import signal

import pytest

from harness.program import eventually
from reference import wire
from reference.gateway import Gateway
from reference.profiles import SWITCH, profile

LAMP, SOCKET, SIREN = "0a11lamp0001", "0a11socket02", "e5siren00005"
ON = {"devid": SOCKET, "value": [{"k": "switch_1", "v": True}]}


@pytest.fixture
def watch(spawn, key_file):
    """Starts `watch --json` and waits until it has read what it reads at first."""

    async def start(gateway, *arguments):
        process = spawn("watch", *arguments, "--json", "--gateway", gateway.url, "--key-file", key_file, "--timeout", "5s")
        await eventually(lambda: gateway.authenticated, "a session")
        await eventually(lambda: gateway.asked("get_status"), "a first reading")
        await settled(gateway)
        return process

    return start


async def settled(gateway):
    """Until no new request has come for a while."""
    known = -1
    while known != len(gateway.requests):
        known = len(gateway.requests)
        await asyncio.sleep(0.3)


async def printed(process, count):
    await eventually(lambda: len(process.output) >= count, f"{count} lines")
    return process.output


async def test_every_event_is_printed_as_it_came(watch, key, options):
    async with Gateway(key, options=options) as gateway:
        process = await watch(gateway)
        events = [
            await gateway.push("state_changed", ON),
            await gateway.push("state_changed", ON),
            await gateway.push("state_changed", {"devid": LAMP, "value": [{"k": "colour_data", "v": {"v": 3, "h": 1}}, {"k": "ghost", "v": "℃"}]}),
            await gateway.push("online_updated", {"devid": SOCKET, "state": False}),
            await gateway.push("online_updated", {"devid": SOCKET, "state": True, "value": ON["value"]}),
            await gateway.push("registry_updated", {"devid": SIREN, "state": 1}),
        ]
        lines = await printed(process, len(events))
        assert [line.encode() for line in lines] == [wire.encode(e) for e in events]


async def test_there_is_no_snapshot_before_the_events(watch, key):
    async with Gateway(key) as gateway:
        process = await watch(gateway)
        event = await gateway.push("state_changed", ON)
        assert [json.loads(line) for line in await printed(process, 1)] == [event]


async def test_events_of_the_first_moment_are_printed_too(spawn, key, key_file):
    early = [{"id": n, "type": "event", "event_type": "state_changed", "data": ON} for n in (41, 42, 43)]
    async with Gateway(key, behind_auth_ok=early) as gateway:
        process = spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file)
        assert [json.loads(line) for line in await printed(process, 3)] == early


async def test_a_line_is_compact_and_keeps_every_digit(watch, key):
    text = '{ "type" : "event",\n "id": 9,\t"event_type":"state_changed", "extra": [ 1.50, 1e3 ], "data": {"value": [ {"k":"x y", "v": 0.10} ], "devid":"%s"} }' % SOCKET

    def spelling(message):
        return text.encode() if message.get("id") == 9 else wire.encode(message)

    async with Gateway(key, spelling=spelling) as gateway:
        process = await watch(gateway)
        await gateway.push("state_changed", ON, id=9)
        (line,) = await printed(process, 1)
        assert wire.verbatim(line) == wire.verbatim(text)
        assert line == '{"type":"event","id":9,"event_type":"state_changed","extra":[1.50,1e3],"data":{"value":[{"k":"x y","v":0.10}],"devid":"%s"}}' % SOCKET


async def test_only_the_named_devices_are_watched(watch, key):
    async with Gateway(key) as gateway:
        process = await watch(gateway, "0a11s")
        await gateway.push("state_changed", {"devid": LAMP, "value": []})
        await gateway.push("online_updated", {"devid": SIREN, "state": True})
        event = await gateway.push("state_changed", ON)
        assert [json.loads(line) for line in await printed(process, 1)] == [event]


async def test_an_unknown_event_type_does_not_stop_the_watching(watch, key):
    async with Gateway(key) as gateway:
        process = await watch(gateway)
        await gateway.push("weather_updated", {"sun": 1})
        await gateway.push("state_changed", {"devid": "not-here", "value": []})
        event = await gateway.push("state_changed", ON)
        await eventually(lambda: process.output and json.loads(process.output[-1]) == event, "the known event")


async def test_a_gap_in_the_ids_leads_to_a_new_reading_of_the_status(watch, key):
    async with Gateway(key) as gateway:
        await watch(gateway)
        await gateway.push("state_changed", ON, id=10)
        await gateway.push("state_changed", ON, id=11)
        await settled(gateway)
        before = len(gateway.asked("get_status"))
        await gateway.push("state_changed", ON, id=15)
        await eventually(lambda: len(gateway.asked("get_status")) > before, "the status is read again")


async def test_ids_without_a_gap_lead_to_no_reading(watch, key):
    async with Gateway(key) as gateway:
        await watch(gateway)
        await gateway.push("state_changed", ON, id=1000)
        await settled(gateway)
        before = len(gateway.requests)
        for id in range(1001, 1020):
            await gateway.push("state_changed", ON, id=id)
        await settled(gateway)
        assert gateway.requests[before:] == []


@pytest.mark.parametrize("state", [0, 1, 7])
async def test_a_registry_event_leads_to_a_new_reading_whatever_its_number(watch, key, state):
    async with Gateway(key) as gateway:
        await watch(gateway)
        before = len(gateway.asked("get_devices"))
        new = profile("dd00new00001", "kg", "New", function=[SWITCH], status=[SWITCH], switch_1=True)
        gateway.home[new["devid"]] = new
        await gateway.push("registry_updated", {"devid": new["devid"], "state": state})
        await eventually(lambda: len(gateway.asked("get_devices")) > before, "the device list is read again")
        for kind in ("get_schema", "get_status"):
            await eventually(lambda k=kind: any(new["devid"] in r["data"] for r in gateway.asked(k)), f"{kind} of the new device")


async def test_a_request_to_a_client_is_of_an_unknown_type(watch, key, options):
    async with Gateway(key, options=options) as gateway:
        await watch(gateway)
        (session,) = gateway.authenticated
        await gateway.send(session, {"id": 77, "type": "get_devices"})
        (answer,) = await eventually(lambda: session.asked("result"), "an answer")
        assert (answer["id"], answer["success"]) == (77, False)
        assert answer["error"]["code"] == "unknown_type"
        assert session.close_code is None


async def test_people_see_the_value_in_its_unit(spawn, key, key_file):
    async with Gateway(key) as gateway:
        process = spawn("watch", "--gateway", gateway.url, "--key-file", key_file)
        await eventually(lambda: gateway.asked("get_status"), "a first reading")
        await settled(gateway)
        await gateway.push("state_changed", {"devid": "7c20thermo03", "value": [{"k": "temp_current", "v": 187}]})
        await eventually(lambda: any("18.7" in line for line in process.output), "the scaled value")


async def test_ctrl_c_ends_the_watching(watch, key):
    async with Gateway(key) as gateway:
        process = await watch(gateway)
        process.signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 5) in (0, 130, -signal.SIGINT)


async def test_the_reading_end_may_go_away(hearthgate, environment, key, key_file):
    """`watch | head -n 1` ends by itself and without a panic."""
    async with Gateway(key) as gateway:
        line = f"{hearthgate} watch --json --gateway {gateway.url} --key-file {key_file} | head -n 1"
        process = await asyncio.create_subprocess_shell(
            line, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        done = asyncio.create_task(process.communicate())
        await eventually(lambda: gateway.asked("get_devices"), "a first reading")
        for _ in range(40):
            await gateway.push("state_changed", ON)
            if done.done():
                break
            await asyncio.sleep(0.1)
        out, err = await done
        assert out.count(b"\n") == 1
        assert b"panicked" not in err
