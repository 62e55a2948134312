"""What Home Assistant itself makes of the devices of a gateway: the entities, both directions, events, its log."""

import asyncio

import pytest

from harness.program import Running
from harness.stack import BUTTON, CURTAIN, LIGHT, SIREN, SOCKET, STRANGER, THERMOSTAT, WEATHER, Stack

pytestmark = pytest.mark.deadline(180)


@pytest.fixture(scope="module")
def whole(hearthgate, tmp_path_factory):
    stack = Stack(hearthgate, tmp_path_factory.mktemp("home"))
    try:
        asyncio.run(stack.start_all())
        yield stack
    finally:
        Running.everything.extend(stack.processes)
        stack.stop()


@pytest.fixture
def home(whole):
    Running.everything.extend(whole.processes)
    return whole


ENTITIES = [
    (LIGHT, "switch_led", "light", "off", {}),
    (THERMOSTAT, "switch_climate", "climate", None, {"temperature": 21.0, "current_temperature": 19.5, "min_temp": 5, "max_temp": 35, "target_temp_step": 0.5}),
    (THERMOSTAT, "fault_sensor_fault", "binary_sensor", "off", {"device_class": "problem"}),
    (CURTAIN, "control", "cover", "closed", {"device_class": "curtain", "current_position": 0}),
    (SOCKET, "switch_1", "switch", "on", {"device_class": "outlet"}),
    (SOCKET, "cur_power", "sensor", "123.4", {"device_class": "power", "state_class": "measurement", "unit_of_measurement": "W"}),
    (SOCKET, "cur_voltage", "sensor", "230.5", {"device_class": "voltage", "state_class": "measurement", "unit_of_measurement": "V"}),
    (SOCKET, "cur_current", "sensor", None, {"device_class": "current", "state_class": "measurement"}),
    (SOCKET, "add_ele", "sensor", "0.017", {"device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh"}),
    (WEATHER, "va_temperature", "sensor", "21.7", {"device_class": "temperature", "state_class": "measurement", "unit_of_measurement": "°C"}),
    (WEATHER, "va_humidity", "sensor", "48", {"device_class": "humidity", "state_class": "measurement", "unit_of_measurement": "%"}),
    (WEATHER, "battery_percentage", "sensor", "90", {"device_class": "battery", "state_class": "measurement", "unit_of_measurement": "%"}),
    (SIREN, "alarm_switch", "siren", "off", {}),
    (BUTTON, "switch_mode1", "event", None, {"device_class": "button", "event_types": ["click", "double_click", "press"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "code", "platform", "state", "attributes"), ENTITIES, ids=[f"{d['category']}-{code}" for d, code, *_ in ENTITIES]
)
async def test_an_entity_has_its_platform_class_unit_and_state(home, device, code, platform, state, attributes):
    found = await home.state(device, code, platform, lambda s: s["state"] not in (None, "unavailable") and state in (None, s["state"]))
    have = found["attributes"]
    assert {key: have.get(key) for key in attributes} == attributes, have


async def test_a_current_is_told_in_amperes_or_with_its_own_unit(home):
    found = await home.state(SOCKET, "cur_current", "sensor", lambda s: s["state"] not in (None, "unavailable", "unknown"))
    amperes = {"A": 1, "mA": 0.001}[found["attributes"]["unit_of_measurement"]]
    assert float(found["state"]) * amperes == pytest.approx(0.535)


async def test_every_data_point_of_a_device_that_nobody_knows_is_there_and_disabled(home):
    entries = {e["unique_id"].split(f"{STRANGER['devid']}_")[-1]: e for e in await home.ha.registry() if f"_{STRANGER['devid']}_" in e["unique_id"]}
    for code in ("flag", "word", "level", "blob", "note"):
        entry = entries.get(code)
        assert entry, (code, sorted(entries))
        assert entry["disabled_by"] == "integration", entry
        assert entry["entity_category"] in ("config", "diagnostic"), entry


async def test_devices_have_a_name_a_model_and_the_gateway_above_them(home):
    devices = await home.ha.registry("device")
    ours = {identifier: d for d in devices for domain, identifier in d["identifiers"] if domain == "mqtt"}
    (light,) = [d for identifier, d in ours.items() if LIGHT["devid"] in identifier]
    assert "ght1" in light["name"] and light["model"], light
    above = {d["id"]: d for d in devices}[light["via_device_id"]]
    assert any("hearthgate_gateway" in identifier for _, identifier in above["identifiers"]), above


async def test_a_light_is_switched_dimmed_and_coloured(home):
    light = await home.entity(LIGHT, "switch_led", "light")
    await home.ha.call("light.turn_on", light)
    await home.gateway_has(LIGHT, lambda v: v["switch_led"] is True)
    await home.ha.becomes(light, lambda s: s["state"] == "on", "the light is on")
    await home.ha.call("light.turn_on", light, brightness=255)
    await home.gateway_has(LIGHT, lambda v: v["bright_value_v2"] == 1000)
    await home.ha.becomes(light, lambda s: s["attributes"].get("brightness") == 255, "full brightness")
    await home.ha.call("light.turn_on", light, hs_color=[240, 100])
    await home.gateway_has(LIGHT, lambda v: v["work_mode"] == "colour")
    seen = await home.ha.becomes(light, lambda s: s["attributes"].get("color_mode") == "hs", "it shows a colour")
    assert seen["attributes"]["hs_color"] == pytest.approx([240, 100], abs=1.5)
    await home.ha.call("light.turn_on", light, color_temp_kelvin=4000)
    await home.gateway_has(LIGHT, lambda v: v["work_mode"] == "white")
    await home.ha.becomes(light, lambda s: s["attributes"].get("color_mode") == "color_temp", "it is white again")
    await home.ha.call("light.turn_off", light)
    await home.gateway_has(LIGHT, lambda v: v["switch_led"] is False)
    await home.ha.becomes(light, lambda s: s["state"] == "off", "the light is off")


async def test_a_thermostat_is_set(home):
    thermostat = await home.entity(THERMOSTAT, "switch_climate", "climate")
    await home.ha.call("climate.set_temperature", thermostat, temperature=23.5)
    await home.gateway_has(THERMOSTAT, lambda v: v["temp_set"] == 235)
    await home.ha.becomes(thermostat, lambda s: s["attributes"].get("temperature") == 23.5, "the target")


async def test_a_curtain_is_opened_and_positioned(home):
    curtain = await home.entity(CURTAIN, "control", "cover")
    await home.ha.call("cover.open_cover", curtain)
    await home.gateway_has(CURTAIN, lambda v: v["control"] == "open" or v["percent_control"] == 0)
    home.edit(CURTAIN, control="open", percent_control=0, percent_state=0)  # it has arrived; 0 is open
    await home.ha.becomes(curtain, lambda s: s["state"] == "open" and s["attributes"].get("current_position") == 100, "it is open")
    await home.ha.call("cover.set_cover_position", curtain, position=40)
    await home.gateway_has(CURTAIN, lambda v: v["percent_control"] == 60)


async def test_a_siren_sounds(home):
    siren = await home.entity(SIREN, "alarm_switch", "siren")
    await home.ha.call("siren.turn_on", siren)
    await home.gateway_has(SIREN, lambda v: v["alarm_switch"] is True)
    await home.ha.becomes(siren, lambda s: s["state"] == "on", "it sounds")
    await home.ha.call("siren.turn_off", siren)
    await home.ha.becomes(siren, lambda s: s["state"] == "off", "it is silent")


async def test_what_changes_at_the_gateway_shows(home):
    for state in (False, True):
        await home.write(SOCKET, switch_1=state)
        await home.state(SOCKET, "switch_1", "switch", "on" if state else "off")
    home.edit(WEATHER, va_temperature=-35)
    await home.state(WEATHER, "va_temperature", "sensor", "-3.5")
    home.edit(THERMOSTAT, fault=2)
    await home.state(THERMOSTAT, "fault_temp_fault", "binary_sensor", "on")
    await home.state(THERMOSTAT, "fault_sensor_fault", "binary_sensor", "off")
    home.edit(THERMOSTAT, fault=0)
    await home.state(THERMOSTAT, "fault_temp_fault", "binary_sensor", "off")


async def test_a_button_pressed_twice_fires_twice(home):
    button = await home.entity(BUTTON, "switch_mode1", "event")
    async with home.ha.talk() as talk:
        await talk.ask("subscribe_events", event_type="state_changed")

        async def fired(count: int):
            async with asyncio.timeout(30):
                while True:
                    ours = [e["data"]["new_state"] for e in await talk.catch_up() if e["data"]["entity_id"] == button]
                    if len(ours) >= count:
                        return ours
                    await asyncio.sleep(0.05)

        home.reference.report(BUTTON["devid"], switch_mode1="click")
        await fired(1)
        home.reference.report(BUTTON["devid"], switch_mode1="click")
        await fired(2)
        home.reference.report(BUTTON["devid"], switch_mode1="press")
        seen = await fired(3)
        assert [s["attributes"]["event_type"] for s in seen] == ["click", "click", "press"]
        assert len({s["state"] for s in seen}) == 3, "each has its own moment"


async def test_a_device_that_is_offline_is_unavailable_and_comes_back(home):
    home.edit(WEATHER, online=False)
    await home.state(WEATHER, "va_humidity", "sensor", "unavailable")
    assert (await home.state(SOCKET, "cur_voltage", "sensor", lambda s: s["state"]))["state"] == "230.5", "no other device is"
    home.edit(WEATHER, online=True)
    await home.state(WEATHER, "va_humidity", "sensor", "48")


async def test_home_assistant_complains_of_nothing(home):
    """The last of this file: after all that the other tests did."""
    complaints = home.ha.complaints()
    assert not complaints, "\n\n".join(complaints)
