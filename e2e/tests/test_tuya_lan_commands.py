"""`hearthgate lan`: importing lists, trying devices, and what is said where something is wrong."""

import json
import re
import socket

import pytest

from harness import lan
from harness.lan import Hub, WifiDevice, write_list
from harness.program import eventually


@pytest.fixture
def plug():
    lan.quiet()
    device = WifiDevice("3.4", {"1": True, "18": 123, "101": "low"})
    yield device
    device.stop()


def wizard(plug: WifiDevice, **more) -> dict:
    """The device as `tinytuya wizard` lists it."""
    mapping = {
        "1": {"code": "switch_1", "type": "Boolean", "values": {}},
        "18": {"code": "cur_current", "type": "Integer", "values": '{"unit":"mA","min":0,"max":30000,"scale":0,"step":1}'},
        "101": {"code": "fan", "type": "Enum", "values": {"range": ["low", "high"]}},
    }
    return {"name": "Kettle", "id": plug.id, "key": plug.key, "category": "cz", "ip": f"{plug.host}:{plug.port}", "version": "3.4",
            "sub": False, "mapping": mapping} | more  # fmt: skip


async def test_the_wizards_list_is_served_as_it_is_and_imported(plug, run, command, spawn, key_file, tmp_path):
    listed = write_list(tmp_path / "devices.json", json.dumps([wizard(plug)]))
    ours = tmp_path / "lan.toml"
    outcome = (await run("lan", "import", listed, "--out", ours)).must_exit(0)
    assert "Kettle" in outcome.out and plug.id in outcome.out and plug.key not in outcome.out + outcome.err
    assert ours.stat().st_mode & 0o777 == 0o600
    (await run("lan", "import", listed, "--out", ours)).must_exit(2).must_say("exists and was left as it is")
    for path in (listed, ours):
        checked = (await run("gateway", "--tuya-lan", path, "--check-config", "--state", tmp_path / "state")).must_exit(0)
        assert "1 devices" in checked.out
        gateway = spawn("gateway", "--listen", "127.0.0.1:0", "--tuya-lan", path, "--no-advertise", "--state", tmp_path / "state")
        url = gateway.wait_for_log(re.compile(r"ws://[\d.:]+"))[0]
        gateway.wait_for_log(re.compile("Kettle .* is online"))
        key = next((tmp_path / "state").rglob("*.key"), None) or next(p for p in (tmp_path / "state").rglob("*key*") if p.is_file())
        read = await run("status", plug.id, "--gateway", url, "--key-file", key)
        read.must_exit(0)
        assert "fan" in read.out and "123" in read.out and "mA" in read.out
        gateway.stop()


async def test_a_gateways_configuration_names_lists_beside_it(plug, run, tmp_path):
    write_list(tmp_path / "lan.toml", plug.toml())
    config = write_list(tmp_path / "gateway.toml", 'tuya_lan = ["lan.toml"]\nstate = "none"\nkey_file = "k"\n')
    write_list(tmp_path / "k", "0123456789abcdef")
    assert "1 devices" in (await run("gateway", "--config", config, "--check-config")).must_exit(0).out
    write_list(tmp_path / "lan.toml", plug.toml(adress="x"))
    wrong = (await run("gateway", "--config", config, "--check-config")).must_exit(2)
    wrong.must_say("lan.toml: device 1, line 1: unknown key `adress`; did you mean `address`?")
    assert plug.key not in wrong.err


async def test_a_list_that_others_can_read_is_warned_about(plug, run, tmp_path):
    listed = write_list(tmp_path / "devices.json", json.dumps([wizard(plug)]))
    listed.chmod(0o644)
    (await run("lan", "import", listed)).must_exit(0).must_say("holds keys and can be read by others", "chmod 600")


async def test_what_a_device_shows_is_shown_live(plug, spawn, run, tmp_path):
    listed = write_list(tmp_path / "devices.json", json.dumps([wizard(plug)]))
    once = (await run("lan", "try", plug.id, "--tuya-lan", listed, "--once", "--json")).must_exit(0)
    assert json.loads(once.out) == {
        "devid": plug.id, "online": True,
        "value": [{"k": "switch_1", "v": True}, {"k": "cur_current", "v": 123}, {"k": "fan", "v": "low"}],
    }  # fmt: skip
    once.must_say("address, key and version are right", "speaks version 3.4")
    live = spawn("lan", "try", plug.id, "--tuya-lan", listed)
    await eventually(lambda: f"{plug.id} cur_current = 123 mA" in live.output, "the state", patience=20)
    plug.push(dp101="high")
    await eventually(lambda: f"{plug.id} fan = high" in live.output, "the push")
    assert plug.key not in live.log_text


async def test_a_key_and_an_address_are_enough(plug, run, tmp_path):
    key = write_list(tmp_path / "device.key", plug.key, "\n")
    outcome = await run("lan", "try", plug.id, "--key-file", key, "--address", f"{plug.host}:{plug.port}", "--once", "--json")
    assert {"k": "dp_101", "v": "low"} in json.loads(outcome.must_exit(0).out)["value"]


async def test_a_sub_device_is_tried_over_its_parent(run, tmp_path):
    hub = Hub("3.4", {"a4": {"1": True}, "b5": {"1": False}})
    try:
        listed = write_list(tmp_path / "lan.toml", hub.toml())
        outcome = (await run("lan", "try", hub.sub_id("b5"), "--tuya-lan", listed, "--once", "--json")).must_exit(0)
        assert json.loads(outcome.out) == {"devid": hub.sub_id("b5"), "online": True, "value": [{"k": "switch_1", "v": False}]}
        hub.asleep.add("a4")
        silent = await run("lan", "try", hub.sub_id("a4"), "--tuya-lan", listed, "--once", "--timeout", "3s")
        silent.must_exit(3).must_say("told no state within 3s")
    finally:
        hub.stop()


async def test_an_address_where_nobody_is_is_said(plug, run, tmp_path):
    with socket.socket() as nobody:
        nobody.bind((plug.host, 0))  # bound and not listening: refused
        listen = f'listen = ["{plug.host}:6667"]\n'
        listed = write_list(tmp_path / "lan.toml", listen, plug.toml(address=f"{plug.host}:{nobody.getsockname()[1]}"))
        outcome = await run("lan", "try", plug.id, "--tuya-lan", listed, "--timeout", "1s", "--once")
    outcome.must_exit(3).must_say("address: ", "cannot be reached", "refused", "lan scan")


async def test_a_device_that_is_not_heard_is_said(plug, run, tmp_path):
    listen = f'listen = ["{plug.host}:6667"]\n'
    listed = write_list(tmp_path / "lan.toml", listen, plug.toml(address="auto"))
    outcome = await run("lan", "try", plug.id, "--tuya-lan", listed, "--timeout", "1s", "--once")
    outcome.must_exit(3).must_say("address: ", "did not announce itself within 1s")
    heard = (await run("lan", "scan", "--listen", f"{plug.host}:6667", "--timeout", "500ms")).must_exit(0)
    assert "no Wi-Fi device was heard" in heard.out


async def test_usage_is_said(plug, run, tmp_path):
    listed = write_list(tmp_path / "lan.toml", plug.toml())
    (await run("lan", "try", "unheard", "--tuya-lan", listed)).must_exit(2).must_say("there is no device unheard in these files")
    (await run("lan", "try", "unheard")).must_exit(2).must_say("no list of devices: give --tuya-lan FILE")
    (await run("lan", "import", tmp_path / "none")).must_exit(2).must_say("cannot be read")
    (await run("gateway", "--state", "none")).must_exit(2).must_say("--tuya-lan")
