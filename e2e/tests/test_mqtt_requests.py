"""Requests to the hub over the broker, and the retained list."""

import json

import pytest

from harness.broker import retained
from harness.hub import ROOT, UUID, all_there, configs, identifier, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

SOCKET, THERMOSTAT = "0a11socket02", "7c20thermo03"


@pytest.fixture
def home(start_gateway, know, broker, listener, start_hub):
    gateway = start_gateway()
    know(gateway)
    start_hub(broker)
    return gateway


async def test_a_rename_changes_the_discovery_and_no_topic(home, listener, broker, start_hub):
    await all_there(listener, profiles.home())
    before = await retained(broker)
    answer = await listener.request("rename", device=SOCKET, name="Kessel ☕")
    assert answer["success"] is True, answer
    name = lambda: configs(listener.now)[identifier(SOCKET)]["device"]["name"]  # noqa: E731
    await eventually(lambda: name() == "Kessel ☕", "the new name in the discovery")
    after = await retained(broker)
    assert set(after) == set(before)
    old, new = configs(before)[identifier(SOCKET)], configs(after)[identifier(SOCKET)]
    assert old["components"] == new["components"] and old["availability"] == new["availability"]
    in_list = lambda: {d["device"]: d["name"] for d in listener.json("hearthgate/bridge/devices")["devices"]}  # noqa: E731
    await eventually(lambda: in_list()[SOCKET] == "Kessel ☕", "the new name in the list")
    # By its name now, and back to what it was.
    assert (await listener.request("rename", device="kessel ☕", name=""))["success"] is True
    await eventually(lambda: name() == old["device"]["name"], "the first name again")


async def test_a_name_outlives_the_hub(start_gateway, know, broker, listener, start_hub):
    know(start_gateway())
    hub = start_hub(broker)
    await all_there(listener, profiles.home())
    assert (await listener.request("rename", gateway=UUID, device=SOCKET, name="Kettle"))["success"] is True
    hub.kill()
    since = len(listener.messages)
    start_hub(broker)
    await all_there(listener, profiles.home(), since)
    assert configs(listener.now)[identifier(SOCKET)]["device"]["name"] == "Kettle"


async def test_the_list_says_what_there_is(home, listener, broker):
    devices = profiles.home()
    await all_there(listener, devices)
    await eventually(lambda: len((listener.json("hearthgate/bridge/devices") or {}).get("devices", [])) == len(devices), "the whole list")
    listed = listener.json("hearthgate/bridge/devices")
    assert [(g["id"], g["name"]) for g in listed["gateways"]] == [(UUID, "Home")]
    assert {d["device"]: (d["gateway"], d["category"]) for d in listed["devices"]} == {d["devid"]: (UUID, d["category"]) for d in devices}
    assert {d["topic"] for d in listed["devices"]} == {topic(d["devid"], "state") for d in devices}
    answer = await listener.request("devices")
    assert answer["success"] is True and answer["result"]["devices"] == listed["devices"]
    assert json.loads((await retained(broker))["hearthgate/bridge/devices"])["devices"] == listed["devices"]


async def test_announce_says_everything_again(home, listener):
    await all_there(listener, profiles.home())
    since = len(listener.messages)
    answer = await listener.request("announce")
    assert answer["success"] is True, answer
    await all_there(listener, profiles.home(), since)
    # As the button sends it, and without an id.
    await listener.fence()
    since = len(listener.messages)
    listener.publish("hearthgate/bridge/request/announce", "{}")
    assert "id" not in (await listener.next("hearthgate/bridge/response/announce", since)).json()


async def test_reconnect_is_answered(home, listener):
    await all_there(listener, profiles.home())
    assert (await listener.request("reconnect", gateway=UUID))["success"] is True
    assert (await listener.request("reconnect", gateway="home"))["success"] is True, "by its name"
    assert (await listener.request("reconnect", gateway="nobody"))["error"]["code"] == "unknown_device"


@pytest.mark.parametrize(
    ("what", "fields", "code"),
    [
        ("rename", {}, "invalid_request"),
        ("rename", {"device": "nobody", "name": "x"}, "unknown_device"),
        ("rename", {"device": SOCKET, "name": 7}, "invalid_request"),
        ("rename", {"device": SOCKET, "neam": "x"}, "invalid_request"),
        ("remove", {"device": SOCKET}, "invalid_request"),
        ("remove", {"gateway": UUID}, "invalid_request"),
        ("remove", {}, "invalid_request"),
        ("dance", {}, "unknown_type"),
    ],
)
async def test_what_cannot_be_done_is_answered(home, listener, what, fields, code):
    await all_there(listener, profiles.home())
    answer = await listener.request(what, **fields)
    assert (answer["success"], answer["error"]["code"]) == (False, code), answer
    assert answer["error"]["message"]


async def test_garbage_is_answered(home, listener):
    await all_there(listener, profiles.home())
    for payload in ("[]", "{", b"\xff", "7"):
        since = len(listener.messages)
        listener.publish("hearthgate/bridge/request/rename", payload)
        answer = (await listener.next("hearthgate/bridge/response/rename", since)).json()
        assert (answer["success"], answer["error"]["code"]) == (False, "invalid_request"), (payload, answer)


async def test_an_answer_bears_the_correlation_of_its_request(home, listener):
    await all_there(listener, profiles.home())
    listener.publish("hearthgate/bridge/request/devices", "", correlation=b"c1")
    assert (await listener.next("hearthgate/bridge/response/devices", 0)).correlation == b"c1"


async def test_a_gateway_is_renamed_and_what_is_left_of_a_stranger_is_removed(home, listener, broker):
    await all_there(listener, profiles.home())
    assert (await listener.request("rename", gateway=UUID, name="Attic"))["success"] is True
    in_list = lambda: [g["name"] for g in listener.json("hearthgate/bridge/devices")["gateways"]]  # noqa: E731
    await eventually(lambda: in_list() == ["Attic"], "the new name in the list")
    names = lambda: [m["device"]["name"] for key, m in configs(listener.now).items() if key.startswith("hearthgate_gateway_")]  # noqa: E731
    await eventually(lambda: names() == ["Attic"], "the new name in the discovery")
    assert {topic(d["devid"], "state") for d in profiles.home()} <= set(await retained(broker)) and f"{ROOT}/state" in listener.now
