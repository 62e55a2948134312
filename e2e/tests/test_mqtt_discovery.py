"""What the hub announces at the broker: one retained message a device, and every data point in it."""

import json
import re

import pytest

from harness.broker import retained
from harness.files import write_profile
from harness.hub import ROOT, UUID, all_there, configs, identifier, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

HUB, GATEWAY = "hearthgate_bridge", f"hearthgate_gateway_{UUID.replace('-', '-2d')}"


@pytest.fixture
def home(start_gateway, know, broker, listener, start_hub):
    """A gateway with the reference's own devices, and a hub for it."""
    gateway = start_gateway()
    know(gateway)
    start_hub(broker)
    return gateway


def points_of(device):
    return {p["code"] for p in (*device["function"], *device["status"])} | {item["k"] for item in device["value"]}


def carries(component, ident, code):
    """Whether a component is of that data point, or has it among its topics or templates."""
    own = component.get("unique_id", "")
    if own == f"{ident}_{code}" or own.startswith(f"{ident}_{code}_"):
        return True
    return bool(re.search(rf"(?<![A-Za-z0-9_]){re.escape(code)}(?![A-Za-z0-9_])", json.dumps(component, ensure_ascii=False)))


async def test_every_device_is_one_retained_message(home, listener, broker):
    devices = profiles.home()
    await all_there(listener, devices)
    kept = {name: payload for name, payload in (await retained(broker)).items() if name.startswith("homeassistant/")}
    assert all(re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", name) for name in kept), sorted(kept)
    found = configs(kept)
    assert len(kept) == len(found)
    assert set(found) == {HUB, GATEWAY, *(identifier(d["devid"]) for d in devices)}
    for device in devices:
        message = found[identifier(device["devid"])]
        assert message["origin"]["name"] == "Hearthgate" and message["origin"]["sw_version"]
        assert message["device"]["via_device"] == GATEWAY
        assert message["device"]["model"]
        # Nobody knows its name at first: the category in English and the last four of the id.
        assert message["device"]["name"].endswith(device["devid"][-4:]), message["device"]
        assert message["device"]["name"] != device["name"]
        assert message["availability_mode"] == "all"
        assert [a["topic"] for a in message["availability"]] == [
            "hearthgate/bridge/state", f"{ROOT}/availability", topic(device["devid"], "availability"),
        ]  # fmt: skip


async def test_no_data_point_is_left_out_and_every_id_says_whose_it_is(home, listener, broker):
    devices = profiles.home()
    await all_there(listener, devices)
    found = configs(await retained(broker))
    for device in devices:
        ident = identifier(device["devid"])
        components = found[ident]["components"]
        for code in points_of(device):
            assert any(carries(c, ident, code) for c in components.values()), f"no component of {device['devid']} has {code}"
        for key, component in components.items():
            assert component["platform"], key
            rest = component["unique_id"].removeprefix(f"{ident}_")
            assert rest != component["unique_id"], component
            assert rest == "last_seen" or any(rest == c or rest.startswith(f"{c}_") for c in points_of(device)), rest
        ids = [c["unique_id"] for c in components.values()]
        assert len(ids) == len(set(ids))
        last_seen = [c for c in components.values() if c["unique_id"] == f"{ident}_last_seen"]
        assert [(c["device_class"], c["enabled_by_default"]) for c in last_seen] == [("timestamp", False)]


async def test_hub_and_gateway_are_devices_and_announced_before_those_that_name_them(home, listener, broker):
    await all_there(listener, profiles.home())
    found = configs(await retained(broker))
    assert found[GATEWAY]["device"]["via_device"] == HUB
    assert found[GATEWAY]["device"]["name"] == "Home"
    classes = {key: [c.get("device_class") for c in found[key]["components"].values()] for key in (HUB, GATEWAY)}
    assert all("connectivity" in these for these in classes.values()), classes
    buttons = {key: [c["command_topic"] for c in found[key]["components"].values() if c["platform"] == "button"] for key in (HUB, GATEWAY)}
    assert buttons == {HUB: ["hearthgate/bridge/request/announce"], GATEWAY: ["hearthgate/bridge/request/reconnect"]}
    info = lambda: listener.json("hearthgate/bridge/info") or {}  # noqa: E731
    await eventually(lambda: (info().get("gateways"), info().get("devices")) == (1, len(profiles.home())), "the counts", 30)
    assert info()["version"]
    # Whoever is named by via_device was there before.
    announced = set()
    for message in listener.messages:
        if message.topic.startswith("homeassistant/device/") and message.payload:
            device = message.json()["device"]
            assert device.get("via_device") is None or device["via_device"] in announced, device
            announced.update(device["identifiers"])
            # A default of Home Assistant that it was seen to lose, with the entity.
            assert device["connections"] == [], device


async def test_home_assistants_birth_brings_everything_again(home, listener, broker):
    devices = profiles.home()
    await all_there(listener, devices)
    await listener.fence()
    since = len(listener.messages)
    listener.publish("homeassistant/status", "online")
    await all_there(listener, devices, since)


async def test_a_device_that_comes_and_goes(home, listener, broker):
    devices = profiles.home()
    await all_there(listener, devices)
    new = profiles.profile("dd00new00001", "kg", "New", function=[profiles.SWITCH], status=[profiles.SWITCH], switch_1=True)
    write_profile(home.folder, new)
    await all_there(listener, [*devices, new])
    (home.folder / "dd00new00001.json").unlink()
    await eventually(lambda: not [t for t in list(listener.now) if "dd00new00001" in t], "no topic of the removed device", 30)
    assert not [t for t in await retained(broker) if "dd00new00001" in t]
    await eventually(lambda: "dd00new00001" not in listener.text("hearthgate/bridge/devices"), "the list without it")
    assert len(listener.json("hearthgate/bridge/devices")["devices"]) == len(devices)
