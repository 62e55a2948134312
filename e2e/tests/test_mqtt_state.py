"""States, availability and events at the broker: whole, retained, in the user's units; and events that pass."""

import re

import pytest

from harness.broker import retained
from harness.hub import ROOT, all_there, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles
from reference.gateway import Gateway
from reference.profiles import point, profile

LAMP, SOCKET, THERMOSTAT, SIREN = "0a11lamp0001", "0a11socket02", "7c20thermo03", "e5siren00005"
MODES = point("switch_mode1", "Enum", range=["click", "double_click", "press"])
BUTTON = profile("bb00button01", "wxkg", "Scenes", status=[MODES, point("battery_percentage", "Integer", unit="%", min=0, max=100, scale=0, step=1)],
                 switch_mode1="click", battery_percentage=80)  # fmt: skip


async def test_a_state_is_one_whole_object_in_the_users_units(start_gateway, know, broker, listener, start_hub):
    gateway = start_gateway()
    know(gateway)
    start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    state = listener.json(topic(THERMOSTAT, "state"))
    assert (state["temp_set"], state["temp_current"], state["mode"]) == (21.0, 19.5, "auto")
    lamp = listener.json(topic(LAMP, "state"))
    assert (lamp["switch_led"], lamp["bright_value"], lamp["scene_raw"]) == (True, 500, "AQID")
    assert lamp["colour_data"] == {"h": 120, "s": 1000, "v": 700}
    untidy = listener.json(topic("e5untidy0006", "state"))
    assert (untidy["ratio"], untidy["ghost"], untidy["text"]) == (21.5, -7, {"a": [1, {"b": None}]})
    # One point changes: the whole object again, each time.
    since = len(listener.messages)
    async with gateway.connect() as session:
        for value in (215, 220, 225):
            assert (await session.set(THERMOSTAT, temp_set=value))["success"]
    await eventually(lambda: listener.json(topic(THERMOSTAT, "state"))["temp_set"] == 22.5, "the new value")
    keys = {p["code"] for p in profiles.THERMOSTAT["status"]}
    states = [m for m in listener.messages if re.fullmatch(rf"{ROOT}/{THERMOSTAT}/state", m.topic) and m.payload]
    assert all(m.retained for m in states)
    assert all(keys <= set(m.json()) for m in states), [m.json() for m in states]
    assert len([m for m in states if m in listener.messages[since:]]) >= 1
    kept = await retained(broker)
    assert kept[topic(THERMOSTAT, "state")] == listener.now[topic(THERMOSTAT, "state")]
    seen = [value for name, value in walk(state) if name == "last_seen"]
    assert seen and all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) for value in seen), state


def walk(value, name=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, key)
    else:
        yield name, value


async def test_each_device_says_whether_it_is_there(key, know, broker, listener, start_hub):
    async with Gateway(key) as gateway:
        know(gateway)
        start_hub(broker)
        await all_there(listener, profiles.home())
        assert listener.text(topic(SIREN, "availability")) == "offline"
        gateway.home[SIREN]["online"] = True
        await gateway.push("online_updated", {"devid": SIREN, "state": True})
        await eventually(lambda: listener.text(topic(SIREN, "availability")) == "online", "the siren is online")
        gateway.home[SOCKET]["online"] = False
        await gateway.push("online_updated", {"devid": SOCKET, "state": False})
        await eventually(lambda: listener.text(topic(SOCKET, "availability")) == "offline", "the socket is offline")
        kept = await retained(broker)
        assert kept[topic(SIREN, "availability")] == b"online"
        # A device that is away keeps its last state.
        assert topic(SOCKET, "state") in kept
    # The gateway is gone, and with it all that it has.
    await eventually(lambda: listener.text(f"{ROOT}/availability") == "offline", "the gateway is offline", 30)
    assert listener.text("hearthgate/bridge/state") == "online"


async def test_a_second_equal_press_is_a_second_event_and_a_reading_is_none(key, know, broker, listener, start_hub):
    async with Gateway(key, [*profiles.home(), *profiles.home(BUTTON)]) as gateway:
        know(gateway)
        start_hub(broker)
        await all_there(listener, [*profiles.home(), BUTTON])
        events = topic(BUTTON["devid"], "event")
        assert not listener.of(events), "a reading is no press"
        press = {"devid": BUTTON["devid"], "value": [{"k": "switch_mode1", "v": "double_click"}]}
        for count in (1, 2):
            await gateway.push("state_changed", press)
            await eventually(lambda c=count: len(listener.of(events)) == c, f"{count} events")
        heard = listener.of(events)
        assert [m.json()["event_type"] for m in heard] == ["double_click", "double_click"]
        assert all(m.json()["code"] == "switch_mode1" and not m.retained for m in heard)
        # The gateway is read again, with the value of the press in its status.
        gateway.home[BUTTON["devid"]]["value"][0]["v"] = "double_click"
        before = len(gateway.authenticated)
        for session in gateway.authenticated:
            await session.socket.close(1001, "restart")
        await eventually(lambda: len(gateway.authenticated) > before, "a new session", 30)
        read = lambda: [r for r in gateway.authenticated[-1].asked("get_status")]  # noqa: E731
        await eventually(read, "the values were read again", 30)
        # The answer may still be on its way, behind this event, and says the same then.
        gateway.home[BUTTON["devid"]]["value"][0]["v"] = "press"
        await gateway.push("online_updated", {"devid": BUTTON["devid"], "state": True, "value": [{"k": "switch_mode1", "v": "press"}]})
        await eventually(lambda: (listener.json(topic(BUTTON["devid"], "state")) or {}).get("switch_mode1") == "press", "the state follows")
        await gateway.push("state_changed", press | {"value": [{"k": "switch_mode1", "v": "click"}]})
        await eventually(lambda: len(listener.of(events)) > 2, "the next press")
        assert [m.json()["event_type"] for m in listener.of(events)][2:] == ["click"], "neither the reading nor the return was a press"
        assert not [t for t in await retained(broker) if t.endswith("/event")]


@pytest.mark.deadline(90)
async def test_a_word_outside_the_declared_range_extends_the_options(key, know, broker, listener, start_hub):
    async with Gateway(key) as gateway:
        know(gateway)
        start_hub(broker)
        await all_there(listener, profiles.home())
        await gateway.push("state_changed", {"devid": THERMOSTAT, "value": [{"k": "mode", "v": "holiday"}]})
        await eventually(lambda: listener.json(topic(THERMOSTAT, "state"))["mode"] == "holiday", "the state", 30)
        config = [t for t in list(listener.now) if t.startswith("homeassistant/device/") and THERMOSTAT in t]
        assert len(config) == 1
        await eventually(lambda: "holiday" in listener.text(config[0]), "the options have the new word")
