"""Wi-Fi devices behind the program's gateway, from a third-party client to the device and back; the mock is the witness.

Each test says what it tries with which version: docs/tuya-lan.md holds the same table.
"""

import asyncio
import importlib
import re

import pytest

from harness import program
from harness.lan import TRIED, VERSIONS, Hub, has, online, tried
from harness.program import eventually
from reference import profiles

TABLE = program.ROOT / "docs" / "tuya-lan.md"


def turned(message: dict, state: bool) -> bool:
    return message.get("event_type") == "online_updated" and message["data"]["state"] is state


@tried("read: the whole state is there when the device is announced online")
async def test_read(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as session:
        values = await online(session, plug.id)
        assert values == {"switch_1": False, "countdown_1": 0, "cur_current": 123, "cur_power": 456, "cur_voltage": 2301}
        (schema,) = await session.request("get_schema", [plug.id])
        assert schema["category"] == "cz"
        assert {point["code"] for point in schema["function"]} == {"switch_1", "countdown_1"}
        assert next(point for point in schema["status"] if point["code"] == "cur_voltage")["values"].count('"scale":1')


@tried("write: a client's command reaches the device, and its effect comes back as an event")
async def test_write(device, serve_lan, command, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        (await command(gateway.url, "set", plug.id, "switch_1=on", "countdown_1=30")).must_exit(0)
        assert plug.dps["1"] is True and plug.dps["9"] == 30
        event = await session.event("state_changed", plug.id)
        assert {"k": "switch_1", "v": True} in event["data"]["value"]
        status = (await command(gateway.url, "status", plug.id, "--json")).must_exit(0).json()
        assert profiles.values_of(status[0])["countdown_1"] == 30


@tried("all types both ways: Boolean, Integer, Enum, String, Raw, Bitmap, Json in a string, colours as objects")
async def test_types(device, serve_lan, version):
    held = {"20": True, "21": "white", "22": 500, "24": "014a03e803a9", "101": '{"a": [1]}', "102": "AAECA/8=", "103": 5, "104": "ä \"b\""}
    lamp = device(version, held)
    declared = lamp.toml(category="dj") + "".join(
        f"points.{number} = {{ code = '{code}', type = '{kind}', values = '{values}' }}\n"
        for number, code, kind, values in (
            (101, "scene", "Json", "{}"), (102, "raw", "Raw", '{"maxlen":8}'), (103, "fault", "Bitmap", '{"label":["a","b","c"]}'),
            (104, "note", "String", '{"maxlen":16}'),
        )
    )  # fmt: skip
    gateway = serve_lan(declared)
    async with gateway.connect() as session:
        values = await online(session, lamp.id)
        assert values == {
            "switch_led": True, "work_mode": "white", "bright_value_v2": 500, "colour_data_v2": {"h": 330, "s": 1000, "v": 937},
            "scene": '{"a": [1]}', "raw": "AAECA/8=", "fault": 5, "note": 'ä "b"',
        }  # fmt: skip
        wanted = {
            "switch_led": (False, "20", False), "work_mode": ("colour", "21", "colour"), "bright_value_v2": (10, "22", 10),
            "colour_data_v2": ({"h": 1, "s": 2, "v": 3}, "24", "000100020003"), "scene": ({"b": {}}, "101", '{"b":{}}'),
            "raw": ("/w==", "102", "/w=="), "fault": (2, "103", 2), "note": ("ℎ'", "104", "ℎ'"),
        }  # fmt: skip
        for code, (value, number, held) in wanted.items():
            assert (await session.set(lamp.id, **{code: value}))["success"] is True, code
            assert lamp.dps[number] == held and type(lamp.dps[number]) is type(held), code
        refused = await session.set(lamp.id, work_mode="disco")
        assert refused["error"]["code"] == "invalid_value" and lamp.dps["21"] == "colour"
        now = profiles.values_of(await session.status(lamp.id))
        assert now["colour_data_v2"] == {"h": 1, "s": 2, "v": 3} and now["note"] == "ℎ'" and now["fault"] == 2


@tried("push: what a device reports by itself is an event, equal values too")
async def test_push(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        for _ in range(2):
            await asyncio.to_thread(plug.push, dp1=True, dp19=777)
            event = await session.event("state_changed", plug.id)
            assert event["data"]["value"] == [{"k": "switch_1", "v": True}, {"k": "cur_power", "v": 777}]
        # A data point never seen before becomes part of the device.
        await asyncio.to_thread(plug.push, dp101="low")
        assert (await session.event("registry_updated", plug.id))["data"]["state"] == 1
        assert (await session.event("state_changed", plug.id))["data"]["value"] == [{"k": "dp_101", "v": "low"}]
        (schema,) = await session.request("get_schema", [plug.id])
        assert {"code": "dp_101", "type": "String", "values": "{}"} in schema["function"]


@tried("disconnect in the middle of a command: `device_offline`, and the device comes back")
async def test_disconnect_mid_command(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml(grace="5s"))

    def cut() -> bool:
        plug.on_write = None
        plug.cut()
        return False

    async with gateway.connect() as session:
        await online(session, plug.id)
        plug.on_write = cut
        response = await session.set(plug.id, switch_1=True)
        assert response["error"]["code"] == "device_offline", response
        assert plug.dps["1"] is False
        # Within the grace time the next command waits for the connection, and nobody hears of the blip.
        assert (await session.set(plug.id, switch_1=True))["success"] is True
        assert plug.dps["1"] is True
        assert not [event for event in session.events() if turned(event, False)], "the blip was said"


@tried("no acknowledgement: `timeout` within 5 s, and another device is not delayed")
async def test_timeout(device, serve_lan, version):
    plug, other = device(version), device(version)
    gateway = serve_lan(plug.toml(), other.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        await online(session, other.id)
        plug.on_write = lambda: False
        slow = asyncio.create_task(session.set(plug.id, switch_1=True))
        await eventually(lambda: plug.writes, "the write at the device")
        assert (await session.set(other.id, switch_1=True))["success"] is True
        assert not slow.done() and other.dps["1"] is True
        response = await slow
        assert response["error"]["code"] == "timeout" and plug.id in response["error"]["message"], response
        plug.on_write = None
        assert (await session.set(plug.id, switch_1=True))["success"] is True


@tried("commands for one device arrive in order")
async def test_order(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        answers = await asyncio.gather(*(session.set(plug.id, countdown_1=n) for n in range(1, 21)))
        assert all(answer["success"] for answer in answers), answers
        assert [write["9"] for write in plug.writes] == list(range(1, 21))
        assert plug.dps["9"] == 20


@tried("restart of the device: offline, then online with its whole state")
@pytest.mark.deadline(120)
async def test_restart(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        await asyncio.to_thread(plug.stop)
        gone = await session.first(lambda m: turned(m, False))
        plug.state["1"] = True
        plug.start()
        back = await session.first(lambda m: turned(m, True), after=session.messages.index(gone), patience=60)
        assert {"k": "switch_1", "v": True} in back["data"]["value"] and len(back["data"]["value"]) == 5
        assert (await session.set(plug.id, switch_1=False))["success"] is True
        assert plug.dps["1"] is False


@tried("a device that must be asked by naming its data points (`device22`)", ("3.3", "3.4"))
@pytest.mark.deadline(120)
async def test_device22(device, serve_lan, version):
    plug = device(version, {"1": True, "20": 2300, "101": "low"}, dev22=True)
    gateway = serve_lan(plug.toml(category=None))
    async with gateway.connect() as session:
        values = await online(session, plug.id, patience=40)
        assert values == {"dp_1": True, "dp_20": 2300, "dp_101": "low"}
        assert (await session.set(plug.id, dp_1=False))["success"] is True
        assert plug.dps["1"] is False


@tried("sub-devices by cid: read, write, push, asleep (the mock knows none: extended by the tests)", ("3.3", "3.4", "3.5"))
@pytest.mark.deadline(120)
async def test_sub_devices(device, serve_lan, version):
    hub = device(version, {"a4c1": {"1": False}, "b5d2": {"1": False, "19": 7}, "c6e3": {"1": True}}, kind=Hub)
    hub.asleep.add("c6e3")
    gateway = serve_lan(hub.toml())
    first, second, asleep = (hub.sub_id(cid) for cid in hub.subs)
    async with gateway.connect() as session:
        assert await online(session, first) == {"switch_1": False}
        assert await online(session, second) == {"switch_1": False, "cur_power": 7}
        await online(session, hub.id)
        assert (await session.status(asleep))["online"] is False
        assert (await session.set(first, switch_1=True))["success"] is True
        assert [hub.subs[cid]["1"] for cid in hub.subs] == [True, False, True]
        both = await asyncio.gather(session.set(first, switch_1=False), session.set(second, switch_1=True))
        assert all(answer["success"] for answer in both), both
        assert [hub.subs[cid]["1"] for cid in hub.subs] == [False, True, True]
        await asyncio.to_thread(hub.push_sub, "b5d2", {"19": 99})
        await has(session, second, "cur_power", 99)
        hub.asleep.clear()
        await asyncio.to_thread(hub.push_sub, "c6e3", {"1": False})
        assert (await online(session, asleep)) == {"switch_1": False}
        assert hub.mock.server.connections == 1


@tried("two third-party clients and one command each: both see both effects")
async def test_two_clients(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml())
    async with gateway.connect() as one, gateway.connect() as two:
        await online(one, plug.id)
        answers = await asyncio.gather(one.set(plug.id, switch_1=True), two.set(plug.id, countdown_1=77))
        assert all(answer["success"] for answer in answers), answers
        assert plug.dps["1"] is True and plug.dps["9"] == 77
        for session in (one, two):
            for effect in ({"k": "switch_1", "v": True}, {"k": "countdown_1", "v": 77}):
                await session.first(
                    lambda m, effect=effect: m.get("event_type") == "state_changed" and effect in m["data"]["value"]
                )
        assert plug.mock.server.connections == 1, "one connection serves both"


@tried("gentle polling: a device that says nothing by itself is asked")
async def test_polling(device, serve_lan, version):
    plug = device(version)
    gateway = serve_lan(plug.toml(poll="5s", refresh=[18, 19, 20]))
    async with gateway.connect() as session:
        await online(session, plug.id)
        plug.dps["19"] = 888  # and no push
        await has(session, plug.id, "cur_power", 888, patience=30)
        changed = [event["data"]["value"] for event in session.events() if event["event_type"] == "state_changed"]
        assert changed == [[{"k": "cur_power", "v": 888}]], "what did not change is no event"


def test_the_table_in_the_documents_is_what_was_tried():
    """Where it differs this shows the right one."""
    importlib.import_module("test_tuya_lan_wrong")
    rows = ["| what | " + " | ".join(VERSIONS) + " |", "| --- |" + " --- |" * len(VERSIONS)]
    for what, versions in TRIED.items():
        rows.append(f"| {what} | " + " | ".join("tried" if v in versions else "" for v in VERSIONS) + " |")
    expected = "\n".join(re.sub(r"\|\s+(?=\|)", "| ", row) for row in rows)
    text = TABLE.read_text(encoding="utf-8")
    assert expected in text, f"docs/tuya-lan.md must hold this table:\n\n{expected}"
