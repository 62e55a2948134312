"""Home Assistant itself: every device there, right, and still there after any restart."""

import asyncio
import itertools
import signal
import threading
import time

import pytest

from harness.broker import Broker, Witness, wait_until
from harness.files import KEY_TEXT, write_key, write_profiles
from harness.home_assistant import HomeAssistant
from harness.program import LISTENS, Running, binary, clean_environment
from reference import crypto, profiles
from reference.gateway import Gateway

UUID = "bf0123456789abcdef"
LAMP_POINTS = [
    profiles.point("switch_led", "Boolean"), profiles.point("work_mode", "Enum", range=["white", "colour", "scene"]),
    profiles.point("bright_value_v2", "Integer", unit="", min=10, max=1000, scale=0, step=1),
    profiles.point("temp_value_v2", "Integer", unit="", min=0, max=1000, scale=0, step=1),
]  # fmt: skip
LAMP = profiles.profile("lamp00000001", "dj", "Lamp", function=LAMP_POINTS, status=LAMP_POINTS,
                        switch_led=False, work_mode="white", bright_value_v2=500, temp_value_v2=500)  # fmt: skip
TEMP_SET = profiles.point("temp_set", "Integer", unit="℃", min=50, max=350, scale=1, step=5)
HEATING = [profiles.point("switch", "Boolean"), TEMP_SET, profiles.point("mode", "Enum", range=["auto", "manual"])]
THERMOSTAT = profiles.profile(
    "thermo000001", "wk", "Hall", function=HEATING,
    status=[*HEATING, profiles.point("temp_current", "Integer", unit="℃", min=-200, max=600, scale=1, step=1)],
    switch=True, temp_set=210, mode="manual", temp_current=195,
)  # fmt: skip
MOVING = [profiles.point("control", "Enum", range=["open", "stop", "close"]),
          profiles.point("percent_control", "Integer", unit="%", min=0, max=100, scale=0, step=1)]  # fmt: skip
CURTAIN = profiles.profile("curtain00001", "cl", "Curtain", function=MOVING, status=MOVING, control="stop", percent_control=0)
METER_POINTS = [
    profiles.point("switch_1", "Boolean"), profiles.point("cur_power", "Integer", unit="W", min=0, max=50000, scale=1, step=1),
    profiles.point("cur_voltage", "Integer", unit="V", min=0, max=5000, scale=1, step=1),
    profiles.point("cur_current", "Integer", unit="mA", min=0, max=30000, scale=0, step=1),
]  # fmt: skip
METER = profiles.profile("meter0000001", "cz", "Plug", function=METER_POINTS[:1], status=METER_POINTS,
                         switch_1=True, cur_power=123, cur_voltage=2301, cur_current=54)  # fmt: skip
BUTTON_POINT = profiles.point("switch_mode1", "Enum", range=["click", "double_click", "press"])
BUTTON = profiles.profile("button000001", "wxkg", "Button", status=[BUTTON_POINT])
HOME = (LAMP, THERMOSTAT, CURTAIN, METER)


class House:
    """Broker, gateways, hub and Home Assistant, for all tests of this file."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = clean_environment(folder / "home")
        (folder / "home").mkdir()
        self.key_file = write_key(folder / "device.key", KEY_TEXT)
        self.devices = write_profiles(folder / "devices", profiles.home(*HOME))
        self.broker = Broker(folder / "broker", persistent=True)
        self.gateway_port = 0
        self.start_gateway()
        self._start_buttons()
        self.start_hub()
        self.home_assistant = HomeAssistant(folder / "ha", self.broker)
        self.witness = Witness(self.broker)

    def start_gateway(self):
        self.gateway = Running(
            [str(binary()), "gateway", "--listen", f"127.0.0.1:{self.gateway_port}", "--devices", str(self.devices), "--key-file",
             str(self.key_file), "--uuid", UUID, "--no-advertise"], self.environment)  # fmt: skip
        self.gateway_port = int(self.gateway.wait_for_log(LISTENS)[2])

    def start_hub(self):
        self.hub = Running(
            [str(binary()), "hub", "--gateway", f"ws://127.0.0.1:{self.gateway_port}", "--key-file", str(self.key_file), "--gateway",
             self.buttons.url, "--key-file", str(self.key_file), "--mqtt", self.broker.url, "--no-discovery"], self.environment)  # fmt: skip

    def _start_buttons(self):
        """A gateway whose button can be pressed, in a thread of its own."""
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.buttons = Gateway(crypto.parse_key(KEY_TEXT), [BUTTON])
        self._in_loop(self.buttons.__aenter__())

    def _in_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def press(self, word):
        event = {"devid": BUTTON["devid"], "value": [{"k": "switch_mode1", "v": word}]}
        self._in_loop(self.buttons.push("state_changed", event))

    def unique_id(self, device, code):
        return f"hearthgate_{UUID}_{device['devid']}_{code}"

    def entity(self, device, code):
        unique_id = self.unique_id(device, code)
        return wait_until(lambda: self.home_assistant.registry().get(unique_id), f"the entity {unique_id}")["entity_id"]

    def wait_for(self, entity, state, patience=20.0):
        wait_until(lambda: self.home_assistant.state(entity) == state,
                   lambda: f"{entity} to be {state}; it is {self.home_assistant.state(entity)}", patience)  # fmt: skip

    def unavailable(self):
        ours = {entry["entity_id"] for entry in self.home_assistant.registry().values()
                if entry["unique_id"].startswith("hearthgate_") and not entry["disabled_by"]}  # fmt: skip
        states = self.home_assistant.states()
        return sorted(entity for entity in ours if states.get(entity, {}).get("state", "unavailable") == "unavailable")

    def stop(self):
        self.witness.stop()
        for process in (self.hub, self.gateway, self.home_assistant, self.broker):
            process.stop()
        self._in_loop(self.buttons.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("house"))
    try:
        house.home_assistant.wait_until_running()
        yield house
    finally:
        house.stop()


def test_every_entity_is_there_and_right(house):
    lamp = house.entity(LAMP, "switch_led")
    house.wait_for(lamp, "off")
    registry = house.home_assistant.registry()
    states = house.home_assistant.states()
    power = states[house.entity(METER, "cur_power")]
    assert power["state"] == "12.3"
    assert power["attributes"]["unit_of_measurement"] == "W" and power["attributes"]["device_class"] == "power"
    assert power["attributes"]["state_class"] == "measurement"
    assert states[house.entity(METER, "cur_voltage")]["state"] == "230.1"
    climate = next(entry for entry in registry.values() if entry["entity_id"].startswith("climate."))
    attributes = states[climate["entity_id"]]["attributes"]
    assert (attributes["current_temperature"], attributes["temperature"]) == (19.5, 21.0)
    for device in HOME:
        for point in device["status"]:
            code = point["code"]
            joined = [unique for unique in registry if unique.startswith(house.unique_id(device, ""))]
            assert joined, f"{device['name']} has no entity for {code}"
    (devices,) = house.home_assistant.ask({"type": "config/device_registry/list"})
    by_id = {identifier[1]: device for device in devices for identifier in device["identifiers"] if identifier[0] == "mqtt"}
    hub, gateway = by_id["hearthgate_bridge"], by_id[f"hearthgate_gateway_{UUID}"]
    assert gateway["via_device_id"] == hub["id"]
    assert by_id[f"hearthgate_{UUID}_{LAMP['devid']}"]["via_device_id"] == gateway["id"]
    assert house.home_assistant.complaints() == []


def test_a_light_is_switched_and_its_state_comes_back(house):
    lamp = house.entity(LAMP, "switch_led")
    house.home_assistant.call("light.turn_on", lamp, brightness=255)
    house.wait_for(lamp, "on")
    state = f"hearthgate/{UUID}/{LAMP['devid']}/state"
    house.witness.wait(state, lambda text: '"switch_led":true' in text and '"bright_value_v2":1000' in text)
    house.home_assistant.call("light.turn_off", lamp)
    house.wait_for(lamp, "off")


def test_a_thermostat_is_set(house):
    entities = house.home_assistant.states()
    climate = next(entity for entity in entities if entity.startswith("climate."))
    house.home_assistant.call("climate.set_temperature", climate, temperature=23.5)
    house.witness.wait(f"hearthgate/{UUID}/{THERMOSTAT['devid']}/state", lambda text: '"temp_set":23.5' in text)
    wait_until(lambda: house.home_assistant.states()[climate]["attributes"]["temperature"] == 23.5, "the temperature to come back")


def test_a_curtain_is_opened(house):
    cover = next(entity for entity in house.home_assistant.states() if entity.startswith("cover."))
    house.home_assistant.call("cover.open_cover", cover)
    house.witness.wait(f"hearthgate/{UUID}/{CURTAIN['devid']}/state", lambda text: '"control":"open"' in text)
    house.home_assistant.call("cover.set_cover_position", cover, position=40)
    # The vendor's curtains count what is closed.
    house.witness.wait(f"hearthgate/{UUID}/{CURTAIN['devid']}/state", lambda text: '"percent_control":60' in text)
    wait_until(lambda: house.home_assistant.states()[cover]["attributes"]["current_position"] == 40, "the position to come back")


def events(house):
    found = (state for entity, state in house.home_assistant.states().items() if entity.startswith("event."))
    return next(found, {"state": None, "attributes": {}})


def test_a_button_pressed_twice_fires_twice(house):
    wait_until(lambda: any(entity.startswith("event.") for entity in house.home_assistant.states()), "the event entity")
    house.press("click")
    wait_until(lambda: events(house)["attributes"].get("event_type") == "click", lambda: f"a press: {events(house)}")
    first = events(house)["state"]
    house.press("click")
    wait_until(lambda: events(house)["state"] != first, "the second, equal press")


@pytest.mark.parametrize("order", itertools.permutations(["broker", "home_assistant", "hub", "gateway"]), ids="-".join)
def test_after_any_restart_everything_is_available_and_right(house, order):
    """All four are killed at once and started one after another; Home Assistant takes its time to boot."""
    lamp = house.entity(LAMP, "switch_led")
    before = events(house)["state"]
    house.press("double_click")
    wait_until(lambda: events(house)["state"] not in (before, "unknown", "unavailable"), "the press")
    last = events(house)["state"]
    for part in order:
        stop = getattr(house, part)
        stop.kill() if part in ("broker", "home_assistant") else (stop.signal(signal.SIGKILL), stop.wait(5))
    here = len(house.witness.messages)
    for part in order:
        if part in ("broker", "home_assistant"):
            getattr(house, part).start()
        else:
            getattr(house, f"start_{part}")()
    house.home_assistant.wait_until_running()
    begin = time.monotonic()
    wait_until(lambda: not house.unavailable(), lambda: f"everything to be available; not: {house.unavailable()}", 20)
    assert time.monotonic() - begin < 10
    house.wait_for(lamp, "off")
    # Killed, Home Assistant has forgotten it; a replayed one would be newer.
    assert events(house)["state"] in (last, "unknown"), "no event is replayed"
    assert not [seen for seen in house.witness.messages[here:] if seen.topic.endswith("/event")]
    # Nothing flaps: once available, it stays.
    for _ in range(5):
        time.sleep(0.2)
        assert not house.unavailable()


def test_the_log_names_us_in_no_warning(house):
    lost = ("Failed to connect", "Disconnected", "Connection refused", "Error returned from MQTT server", "Error connecting")
    complaints = [line for line in house.home_assistant.complaints() if not any(word in line for word in lost)]
    assert complaints == []
