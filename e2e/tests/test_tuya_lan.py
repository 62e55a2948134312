"""Wi-Fi devices behind the program's gateway, from a third-party client to the device and back; the mock is the witness.

Each test notes in `TRIED` what it tries with which version: docs/tuya-lan.md holds the same table.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator

import pytest

from harness import lan, program
from harness.lan import VERSIONS, Hub, WifiDevice, write_list
from harness.program import RunningGateway, eventually
from reference import crypto, profiles
from reference.crypto import Options

ALL = VERSIONS
TRIED: dict[str, tuple[str, ...]] = {}
TABLE = program.ROOT / "docs" / "tuya-lan.md"


def tried(what: str, versions: tuple[str, ...] = ALL):
    """A test of this, once for each version."""
    TRIED[what] = versions
    return pytest.mark.parametrize("version", versions)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    lan.quiet()


@pytest.fixture
def device() -> Iterator[Callable[..., WifiDevice]]:
    """Starts devices, and ends them with the test."""
    started: list[WifiDevice] = []

    def start(*arguments, kind: type[WifiDevice] = WifiDevice, **more) -> WifiDevice:
        started.append(kind(*arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def serve(spawn, key_file, tmp_path) -> Callable[..., RunningGateway]:
    """Starts a gateway that serves a list of Wi-Fi devices, with whatever else."""

    def start(*parts: str, more: tuple = (), name: str = "lan.toml") -> RunningGateway:
        path = write_list(tmp_path / name, *parts)
        keyed = lan_key(key_file)
        process = spawn("gateway", "--listen", "127.0.0.1:0", "--tuya-lan", path, "--key-file", keyed, "--state", "none",
                        "--no-advertise", *more)  # fmt: skip
        found = process.wait_for_log(program.LISTENS)
        return RunningGateway(process, found[1], int(found[2]), crypto.parse_key(program_key()), Options(), path)

    return start


def program_key() -> str:
    from harness.files import KEY_TEXT

    return KEY_TEXT


def lan_key(key_file):
    from harness.files import write_key

    return write_key(key_file, program_key())


async def online(session, devid: str, patience: float = 30) -> dict:
    """Waits until a device is in reach, and gives what it had at that moment."""
    end = time.monotonic() + patience
    while True:
        status = await session.status(devid)
        if status["online"]:
            return profiles.values_of(status)
        assert time.monotonic() < end, f"{devid} is not online within {patience} s: {status}"
        await asyncio.sleep(0.05)


async def has(session, devid: str, code: str, value, patience: float = 15) -> None:
    end = time.monotonic() + patience
    while (now := profiles.values_of(await session.status(devid)).get(code)) != value:
        assert time.monotonic() < end, f"{code} is {now!r} and not {value!r} within {patience} s"
        await asyncio.sleep(0.05)


@tried("read: the whole state is there when the device is announced online")
async def test_read(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml())
    async with gateway.connect() as session:
        values = await online(session, plug.id)
        assert values == {"switch_1": False, "countdown_1": 0, "cur_current": 123, "cur_power": 456, "cur_voltage": 2301}
        (schema,) = await session.request("get_schema", [plug.id])
        assert schema["category"] == "cz"
        assert {point["code"] for point in schema["function"]} == {"switch_1", "countdown_1"}
        assert next(point for point in schema["status"] if point["code"] == "cur_voltage")["values"].count('"scale":1')


@tried("write: a client's command reaches the device, and its effect comes back as an event")
async def test_write(device, serve, command, version):
    plug = device(version)
    gateway = serve(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        (await command(gateway.url, "set", plug.id, "switch_1=on", "countdown_1=30")).must_exit(0)
        assert plug.dps["1"] is True and plug.dps["9"] == 30
        event = await session.event("state_changed", plug.id)
        assert {"k": "switch_1", "v": True} in event["data"]["value"]
        status = (await command(gateway.url, "status", plug.id, "--json")).must_exit(0).json()
        assert profiles.values_of(status[0])["countdown_1"] == 30


@tried("push: what a device reports by itself is an event, equal values too")
async def test_push(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml())
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


@tried("wrong key: said, never announced online, and `lan try` names the key")
@pytest.mark.deadline(120)
async def test_wrong_key(device, serve, run, tmp_path, version):
    plug = device(version, key=lan.OTHER_KEY)
    gateway = serve(plug.toml(key=lan.KEY))
    gateway.process.wait_for_log(re.compile(f"{plug.id}: takes connections .* does not understand version {version}"), 40)
    async with gateway.connect() as session:
        assert (await session.status(plug.id))["online"] is False
        response = await session.ask("set_value", [{"devid": plug.id, "value": [{"k": "switch_1", "v": True}]}])
        assert response["error"]["code"] == "device_offline"
    gateway.process.stop()
    listen = f'listen = ["{plug.host}:6667"]\n'
    wrong = write_list(tmp_path / "wrong.toml", listen, plug.toml(key=lan.KEY))
    outcome = await run("lan", "try", plug.id, "--tuya-lan", wrong, "--timeout", "1s", "--once", patience=100)
    outcome.must_exit(4).must_say("key: ", plug.host)
    assert lan.KEY not in outcome.err + outcome.out + gateway.process.log_text
    assert plug.writes == []


@tried("wrong version: said, and `lan try` names the right one")
@pytest.mark.deadline(120)
async def test_wrong_version(device, serve, run, tmp_path, version):
    plug = device(version)
    other = "3.3" if version != "3.3" else "3.4"
    gateway = serve(plug.toml(version=other))
    gateway.process.wait_for_log(re.compile(f"{plug.id}: takes connections .* does not understand version {other}"), 40)
    async with gateway.connect() as session:
        assert (await session.status(plug.id))["online"] is False
    gateway.process.stop()
    listen = f'listen = ["{plug.host}:6667"]\n'
    wrong = write_list(tmp_path / "wrong.toml", listen, plug.toml(version=other))
    outcome = await run("lan", "try", plug.id, "--tuya-lan", wrong, "--timeout", "1s", "--once", patience=100)
    outcome.must_exit(4).must_say("version: ", f"speaks version {version}", f"{other} is configured")


@tried("version and address found out: the version by trying, the address by the device's announcement")
@pytest.mark.deadline(120)
async def test_automatic(device, serve, run, version):
    host = lan.address()
    plug = device(version, host=host, discovery=True, discovery_addr=host)
    listen = f'listen = ["{host}:6667"]\n'
    silent = device(version)
    gateway = serve(listen, plug.toml(address="auto", version="auto", port=plug.port), silent.toml(version="auto"))
    async with gateway.connect() as session:
        assert (await online(session, plug.id, patience=60))["switch_1"] is False
        assert (await online(session, silent.id, patience=60))["switch_1"] is False
    scanned = (await run("lan", "scan", "--listen", f"{host}:6667", "--timeout", "10s", "--json")).must_exit(0).json()
    assert {"id": plug.id, "address": host, "version": version, "product": "keydeadbeef12345"} in scanned


@tried("disconnect in the middle of a command: `device_offline`, and the device comes back")
async def test_disconnect_mid_command(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml(grace="5s"))

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
        assert not [event for event in session.events() if event["event_type"] == "online_updated"]


@tried("no acknowledgement: `timeout` within 5 s, and another device is not delayed")
async def test_timeout(device, serve, version):
    plug, other = device(version), device(version)
    gateway = serve(plug.toml(), other.toml())
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
async def test_order(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        answers = await asyncio.gather(*(session.set(plug.id, countdown_1=n) for n in range(1, 21)))
        assert all(answer["success"] for answer in answers), answers
        assert [write["9"] for write in plug.writes] == list(range(1, 21))
        assert plug.dps["9"] == 20


@tried("restart of the device: offline, then online with its whole state")
@pytest.mark.deadline(120)
async def test_restart(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml())
    async with gateway.connect() as session:
        await online(session, plug.id)
        await asyncio.to_thread(plug.stop)
        event = await session.event("online_updated", plug.id)
        assert event["data"]["state"] in (False, 0)
        plug.state["1"] = True
        plug.start()
        event = await session.event("online_updated", plug.id, patience=60)
        assert event["data"]["state"] in (True, 1)
        assert {"k": "switch_1", "v": True} in event["data"]["value"] and len(event["data"]["value"]) == 5
        assert (await session.set(plug.id, switch_1=False))["success"] is True
        assert plug.dps["1"] is False


@tried("a device that must be asked by naming its data points (`device22`)", ("3.3", "3.4"))
@pytest.mark.deadline(120)
async def test_device22(device, serve, version):
    plug = device(version, {"1": True, "20": 2300, "101": "low"}, dev22=True)
    gateway = serve(plug.toml(category=None))
    async with gateway.connect() as session:
        values = await online(session, plug.id, patience=40)
        assert values == {"dp_1": True, "dp_20": 2300, "dp_101": "low"}
        assert (await session.set(plug.id, dp_1=False))["success"] is True
        assert plug.dps["1"] is False


@tried("sub-devices by cid: read, write, push, asleep (the mock knows none: extended by the tests)", ("3.3", "3.4", "3.5"))
@pytest.mark.deadline(120)
async def test_sub_devices(device, serve, version):
    hub = device(version, {"a4c1": {"1": False}, "b5d2": {"1": False, "19": 7}, "c6e3": {"1": True}}, kind=Hub)
    hub.asleep.add("c6e3")
    gateway = serve(hub.toml())
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
async def test_two_clients(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml())
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
async def test_polling(device, serve, version):
    plug = device(version)
    gateway = serve(plug.toml(poll="5s", refresh=[18, 19, 20]))
    async with gateway.connect() as session:
        await online(session, plug.id)
        plug.dps["19"] = 888  # and no push
        await has(session, plug.id, "cur_power", 888, patience=30)
        changed = [event["data"]["value"] for event in session.events() if event["event_type"] == "state_changed"]
        assert changed == [[{"k": "cur_power", "v": 888}]], "what did not change is no event"


TRIED["200 devices at once, all versions mixed"] = ALL


@pytest.mark.deadline(240)
async def test_two_hundred_devices(serve):
    with lan.many(200, lambda index: VERSIONS[index % len(VERSIONS)]) as devices:
        gateway = serve(*(device.toml() for device in devices))
        ids = [device.id for device in devices]
        assert len(set(ids)) == 200
        async with gateway.connect() as session:
            end = time.monotonic() + 150
            while not all(status["online"] for status in await session.request("get_status", ids)):
                assert time.monotonic() < end, "not all are online"
                await asyncio.sleep(0.2)
            writes = [{"devid": devid, "value": [{"k": "switch_1", "v": True}]} for devid in ids]
            response = await session.ask("set_value", writes)
            assert response["success"] is True, response
            assert all(device.dps["1"] is True for device in devices)
            assert {device.mock.server.connections for device in devices} == {1}


def test_the_table_in_the_documents_is_what_was_tried():
    """The table is printed by this file: `python -m pytest e2e/tests/test_tuya_lan.py -k table` shows it where it differs."""
    rows = ["| what | " + " | ".join(VERSIONS) + " |", "| --- |" + " --- |" * len(VERSIONS)]
    for what, versions in TRIED.items():
        rows.append(f"| {what} | " + " | ".join("tried" if v in versions else "" for v in VERSIONS) + " |")
    expected = "\n".join(re.sub(r"\|\s+(?=\|)", "| ", row) for row in rows)
    text = TABLE.read_text(encoding="utf-8")
    assert expected in text, f"docs/tuya-lan.md must hold this table:\n\n{expected}"
