"""Wi-Fi devices with a wrong key, version or address, some and very many at once, and ids that are served already."""

import asyncio
import re
import time

import pytest

from harness import lan
from harness.files import KEY_TEXT, write_key, write_profile
from harness.lan import VERSIONS, online, tried, write_list
from reference import profiles


@tried("wrong key: said, never announced online, and `lan try` names the key")
@pytest.mark.deadline(120)
async def test_wrong_key(device, serve_lan, run, tmp_path, version):
    plug = device(version, key=lan.OTHER_KEY)
    gateway = serve_lan(plug.toml(key=lan.KEY))
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


async def test_a_device_that_announces_its_version_is_tried_as_that_alone(device, run, tmp_path):
    host = lan.address()
    plug = device("3.5", key=lan.OTHER_KEY, host=host, discovery=True, discovery_addr=host)
    wrong = write_list(tmp_path / "wrong.toml", f'listen = ["{host}:6667"]\n', plug.toml(key=lan.KEY, version="auto", address="auto", port=plug.port))
    outcome = await run("lan", "try", plug.id, "--tuya-lan", wrong, "--timeout", "15s", patience=60)
    outcome.must_exit(4).must_say("key: ", "none of the versions 3.5 with this key; it announces version 3.5")


@tried("wrong version: said, and `lan try` names the right one")
@pytest.mark.deadline(120)
async def test_wrong_version(device, serve_lan, run, tmp_path, version):
    plug = device(version)
    other = "3.3" if version != "3.3" else "3.4"
    gateway = serve_lan(plug.toml(version=other))
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
async def test_automatic(device, serve_lan, run, version):
    host = lan.address()
    plug = device(version, host=host, discovery=True, discovery_addr=host)
    listen = f'listen = ["{host}:6667"]\n'
    silent = device(version)
    gateway = serve_lan(listen, plug.toml(address="auto", version="auto", port=plug.port), silent.toml(version="auto"))
    async with gateway.connect() as session:
        assert (await online(session, plug.id, patience=60))["switch_1"] is False
        assert (await online(session, silent.id, patience=60))["switch_1"] is False
    gateway.process.stop()  # of two that listen on one address only one hears
    scanned = (await run("lan", "scan", "--listen", f"{host}:6667", "--timeout", "20s", "--json", patience=60)).must_exit(0).json()
    assert {"id": plug.id, "address": host, "version": version, "product": "keydeadbeef12345"} in scanned


async def test_an_id_is_never_served_twice(device, serve_lan, run, tmp_path):
    """Neither from the start on, nor when a profile comes later."""
    plug, folder = device("3.4"), tmp_path / "profiles"
    twin = profiles.profile(plug.id, "kg", "Twin", function=[profiles.SWITCH], status=[profiles.SWITCH], switch_1=True)
    folder.mkdir()
    path = write_profile(folder, twin)
    listed = write_list(tmp_path / "twice.toml", plug.toml())
    for flags in (["--check-config"], []):
        outcome = await run("gateway", "--devices", folder, "--tuya-lan", listed, "--state", "none", "--listen", "127.0.0.1:0",
                            "--key-file", write_key(tmp_path / "a.key", KEY_TEXT), *flags)  # fmt: skip
        outcome.must_exit(2).must_say(f"device {plug.id} is served by both virtual home and tuya lan: remove it from one of them")
    path.unlink()
    gateway = serve_lan(plug.toml(), more=("--devices", folder))
    async with gateway.connect() as session:
        await online(session, plug.id)
        write_profile(folder, twin)
        gateway.process.wait_for_log(re.compile(f"{plug.id}.*virtual home reports a device that tuya lan serves already|"
                                                f"virtual home reports a device that tuya lan serves already.*{plug.id}"))  # fmt: skip
        assert profiles.values_of(await session.status(plug.id))["switch_1"] is False
        assert await session.request("get_devices") == [plug.id]


@tried("200 devices at once, all versions mixed", parametrized=False)
@pytest.mark.deadline(240)
async def test_two_hundred_devices(serve_lan):
    with lan.many(200, lambda index: VERSIONS[index % len(VERSIONS)]) as devices:
        gateway = serve_lan(*(device.toml() for device in devices))
        ids = [device.id for device in devices]
        assert len(set(ids)) == 200
        async with gateway.connect() as session:
            end = time.monotonic() + 150
            while not all(status["online"] for status in await session.request("get_status", ids)):
                assert time.monotonic() < end, "not all are online"
                await asyncio.sleep(0.2)
            # One that was late may have been dialled again; from now on nobody is.
            connections = [device.mock.server.connections for device in devices]
            writes = [{"devid": devid, "value": [{"k": "switch_1", "v": True}]} for devid in ids]
            response = await session.ask("set_value", writes)
            assert response["success"] is True, response
            assert all(device.dps["1"] is True for device in devices)
            assert [device.mock.server.connections for device in devices] == connections
