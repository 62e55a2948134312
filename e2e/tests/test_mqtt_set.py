"""Commands over the broker: `set` and `set/<code>` in the user's units, each answered on `result`."""

import pytest

from harness.broker import retained
from harness.hub import all_there, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

LAMP, SOCKET, THERMOSTAT, SIREN, ODD = "0a11lamp0001", "0a11socket02", "7c20thermo03", "e5siren00005", "7c20odd00004"


@pytest.fixture
def home(start_gateway, know, broker, listener, start_hub):
    gateway = start_gateway()
    know(gateway)
    start_hub(broker)
    return gateway


def at(devid):
    return topic(devid, "set").removesuffix("/set")


async def values(gateway, devid):
    async with gateway.connect() as session:
        return profiles.values_of(await session.status(devid))


async def test_one_code_and_an_object_reach_the_device_in_its_own_units(home, listener):
    await all_there(listener, profiles.home())
    answer = await listener.set(f"{at(THERMOSTAT)}/set/temp_set", "22.5")
    assert answer["success"] is True and answer["codes"] == ["temp_set"], answer
    assert (await values(home, THERMOSTAT))["temp_set"] == 225
    answer = await listener.set(at(THERMOSTAT), {"temp_set": 18, "mode": "manual"})
    assert answer["success"] is True and sorted(answer["codes"]) == ["mode", "temp_set"], answer
    found = await values(home, THERMOSTAT)
    assert (found["temp_set"], found["mode"]) == (180, "manual")
    state = topic(THERMOSTAT, "state")
    await eventually(lambda: (listener.json(state)["temp_set"], listener.json(state)["mode"]) == (18.0, "manual"), "the state comes back")
    for spelling, expected in (("ON", True), ("false", False), ("true", True), ("off", False)):
        answer = await listener.set(f"{at(SOCKET)}/set/switch_1", spelling)
        assert answer["success"] is True, (spelling, answer)
        assert (await values(home, SOCKET))["switch_1"] is expected
    answer = await listener.set(at(LAMP), {"colour_data": {"h": 10, "s": 20, "v": 30}, "scene_raw": "BAUG", "scene_name": "dawn"})
    assert answer["success"] is True, answer
    found = await values(home, LAMP)
    assert (found["colour_data"], found["scene_raw"], found["scene_name"]) == ({"h": 10, "s": 20, "v": 30}, "BAUG", "dawn")
    assert (await listener.set(f"{at(ODD)}/set/identify", "true"))["success"] is True, "what only takes commands takes them"


@pytest.mark.parametrize(
    ("device", "payload", "code"),
    [
        (SOCKET, {"switch_9": True}, "unsupported_code"),
        (f"{SOCKET}/set/switch_9", "on", "unsupported_code"),
        (f"{THERMOSTAT}/set/temp_current", "20", "unsupported_code"),
        (f"{THERMOSTAT}/set/temp_set", "99", "invalid_value"),
        (f"{THERMOSTAT}/set/temp_set", "warm", "invalid_value"),
        (f"{THERMOSTAT}/set/mode", "zebra", "invalid_value"),
        (SOCKET, '{"switch_1": tru', "invalid_value"),
        (SOCKET, "[true]", "invalid_value"),
        (SOCKET, "", "invalid_value"),
        (SOCKET, {}, "invalid_value"),
        (SOCKET, b"\xff\xfe", "invalid_value"),
        (SIREN, {"alarm": True}, "device_offline"),
        ("nobody", {"switch_1": True}, "unknown_device"),
    ],
    ids=lambda value: str(value)[:24].replace("/", "-"),
)
async def test_what_cannot_be_done_is_answered_with_the_protocols_code(home, listener, device, payload, code):
    await all_there(listener, profiles.home())
    before = {devid: await values(home, devid) for devid in (SOCKET, THERMOSTAT, SIREN)}
    answer = await listener.set(topic(device, "x").removesuffix("/x"), payload)
    assert answer["success"] is False and answer["error"]["code"] == code, answer
    assert answer["error"]["message"]
    assert {devid: await values(home, devid) for devid in before} == before


async def test_an_object_with_one_wrong_entry_writes_nothing(home, listener):
    await all_there(listener, profiles.home())
    before = await values(home, SOCKET)
    answer = await listener.set(at(SOCKET), {"switch_1": True, "switch_9": True})
    assert answer["error"]["code"] == "unsupported_code", answer
    assert await values(home, SOCKET) == before


async def test_a_result_bears_the_correlation_of_its_command(home, listener, broker):
    await all_there(listener, profiles.home())
    result = topic(SOCKET, "result")
    listener.publish(topic(SOCKET, "set/switch_1"), "on", correlation=b"\x00mine")
    heard = await listener.next(result, 0)
    assert (heard.correlation, heard.retained) == (b"\x00mine", False)
    assert not [t for t in await retained(broker) if t.endswith(("/result", "/set"))]


async def test_a_command_that_the_broker_keeps_is_not_carried_out(start_gateway, know, broker, listener, start_hub):
    gateway = start_gateway()
    know(gateway)
    listener.publish(topic(SOCKET, "set/switch_1"), "on", retain=True)
    await listener.fence()
    hub = start_hub(broker)
    await all_there(listener, profiles.home())
    # A later command has come through, so the kept one had its chance.
    assert (await listener.set(f"{at(SOCKET)}/set/countdown_1", "7"))["success"] is True
    assert (await values(gateway, SOCKET)) == {"switch_1": False, "countdown_1": 7}
    await eventually(lambda: hub.log_lines("retained at the broker"), "a word in the log")


async def test_when_the_gateway_is_away_a_command_says_so(home, listener):
    await all_there(listener, profiles.home())
    home.process.kill()
    await eventually(lambda: listener.text("hearthgate/hg-under-test/availability") == "offline", "the gateway is gone", 30)
    answer = await listener.set(at(SOCKET), {"switch_1": True})
    assert answer["success"] is False and answer["error"]["code"] == "device_offline", answer
