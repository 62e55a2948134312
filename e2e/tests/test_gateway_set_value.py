"""`set_value`: what is accepted, what is refused, in which order, and that a refused request changes nothing: section 5."""

import asyncio

import pytest

from reference import profiles
from reference.profiles import point, profile

LAMP, SOCKET, THERMOSTAT, ODD, SIREN = "0a11lamp0001", "0a11socket02", "7c20thermo03", "7c20odd00004", "e5siren00005"
GOOD, BAD = "accepted", "invalid_value"

VALUES = {
    "switch_led": [(True, GOOD), (False, GOOD), (1, BAD), (0, BAD), ("true", BAD), ({}, BAD)],
    "bright_value": [(10, GOOD), (1000, GOOD), (500, GOOD), (9, BAD), (1001, BAD), (-10, BAD), (10.5, BAD), ("500", BAD), (True, BAD), ({}, BAD), (2**63, BAD), (10**30, BAD)],
    "work_mode": [("white", GOOD), ("scene", GOOD), ("music", BAD), ("White", BAD), ("", BAD), (0, BAD), (True, BAD)],
    "colour_data": [({"h": 1, "s": 2, "v": 3}, GOOD), ({}, GOOD), ('{"h":1}', GOOD), ("{oops", BAD), ("", BAD), (1, BAD), (False, BAD)],
    "scene_name": [("", GOOD), ("12345678", GOOD), ("ää ℃", GOOD), ("123456789", BAD), ("äääää", BAD), (1, BAD), (True, BAD), ({}, BAD)],
    "scene_raw": [("", GOOD), ("AQIDBA==", GOOD), ("AQIDBAU=", BAD), ("not base64!", BAD), (1, BAD), ({}, BAD)],
    "segments": [(0, GOOD), (7, GOOD), (8, BAD), (-1, BAD), ("1", BAD), (1.5, BAD), (True, BAD)],
    "zones": [(0, GOOD), (31, GOOD), (32, BAD), (-1, BAD), ("1", BAD)],
}  # fmt: skip


def write(devid, **values):
    return {"devid": devid, "value": [{"k": k, "v": v} for k, v in values.items()]}


@pytest.mark.parametrize("code", VALUES)
async def test_a_value_is_checked_against_its_type_and_its_limits(gateway, code):
    wrong = []
    async with gateway.connect() as session:
        now = profiles.values_of(await session.status(LAMP))[code]
        for value, expected in VALUES[code]:
            response = await session.set(LAMP, **{code: value})
            outcome = GOOD if response["success"] else response["error"]["code"]
            now = value if expected == GOOD else now
            is_now = profiles.values_of(await session.status(LAMP))[code]
            if outcome != expected or is_now != now or type(is_now) is not type(now):
                wrong.append(f"{value!r}: {outcome} when expecting {expected}, then {is_now!r}")
    assert not wrong, "\n".join(wrong)


async def test_null_and_arrays_are_no_values(gateway):
    """Whether it is the shape or the value that is wrong is left open."""
    async with gateway.connect() as session:
        for value in (None, []):
            response = await session.set(LAMP, switch_led=value)
            assert response["error"]["code"] in ("invalid_value", "invalid_request")


@pytest.mark.parametrize("value", [50, 52, 351 - 2, 350])
async def test_a_value_off_its_step_is_accepted(gateway, value):
    async with gateway.connect() as session:
        assert (await session.set(THERMOSTAT, temp_set=value))["success"] is True


@pytest.mark.parametrize("value, expected", [(1, GOOD), (100, GOOD), (0, BAD), (101, BAD)])
async def test_bounds_given_as_strings_are_bounds(gateway, value, expected):
    async with gateway.connect() as session:
        response = await session.set(ODD, minutes=value)
        assert (GOOD if response["success"] else response["error"]["code"]) == expected


async def test_a_write_is_checked_against_the_function_and_not_the_status(gateway):
    async with gateway.connect() as session:
        assert (await session.set(ODD, level=10))["success"] is True
        assert (await session.set(ODD, level="low"))["error"]["code"] == "invalid_value"


async def test_points_without_limits_take_any_value_of_their_type(start_gateway):
    free = [point("number", "Integer"), point("text", "String"), point("raw", "Raw"), point("bits", "Bitmap")]
    device = profile("ff00free", "qt", "Free", function=free, status=free, number=0, text="", raw="", bits=0)
    async with start_gateway([device]).connect() as session:
        sound = {"number": -(2**40), "text": "x" * 5000, "raw": "QUJD" * 1000, "bits": 2**29}
        for code, value in sound.items():
            assert (await session.set("ff00free", **{code: value}))["success"] is True, code
        assert profiles.values_of(await session.status("ff00free")) == sound
        assert (await session.set("ff00free", number="1"))["error"]["code"] == "invalid_value"


async def test_every_kind_of_fault_has_its_code_and_names_what_is_wrong(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        faults = [
            (write("no-such-device", switch_1=True), "unknown_device", ["no-such-device"]),
            (write(SIREN, alarm=True), "device_offline", [SIREN]),
            (write(SOCKET, switch_9=True), "unsupported_code", [SOCKET, "switch_9"]),
            (write(THERMOSTAT, temp_current=1), "unsupported_code", [THERMOSTAT, "temp_current"]),
            (write(SOCKET, countdown_1=43201), "invalid_value", [SOCKET, "countdown_1", "43200"]),
            (write(SOCKET, countdown_1=-1), "invalid_value", [SOCKET, "countdown_1", "0"]),
            (write(LAMP, work_mode="music"), "invalid_value", [LAMP, "work_mode", "scene"]),
            (write(LAMP, scene_name="123456789"), "invalid_value", [LAMP, "scene_name", "8"]),
        ]
        for item, code, names in faults:
            response = await session.ask("set_value", [item])
            assert response["success"] is False
            error = response["error"]
            assert error["code"] == code, item
            assert all(name in error["message"] for name in names), error
            (detail,) = error["details"]
            assert (detail["devid"], detail["code"]) == (item["devid"], code)
            assert detail.get("k", item["value"][0]["k"]) == item["value"][0]["k"]


async def test_the_first_thing_wrong_leads_and_details_list_all(gateway):
    items = [
        write(SOCKET, switch_1=True),
        write(LAMP, switch_led=False, bright_value=1, colour=3),
        write("no-such-device", x=1),
        write(SIREN, alarm=True, siren=1),
        write(THERMOSTAT, temp_current=1, temp_set=5000),
    ]
    async with gateway.connect() as session:
        before = await session.request("get_status", [SOCKET, LAMP, THERMOSTAT])
        error = (await session.ask("set_value", items))["error"]
        assert error["code"] == "invalid_value"
        assert "bright_value" in error["message"]
        listed = list(dict.fromkeys((d["devid"], d["code"]) for d in error["details"]))
        assert listed == [
            (LAMP, "invalid_value"), (LAMP, "unsupported_code"), ("no-such-device", "unknown_device"),
            (SIREN, "device_offline"), (THERMOSTAT, "unsupported_code"), (THERMOSTAT, "invalid_value"),
        ]  # fmt: skip
        assert [d["k"] for d in error["details"] if d["devid"] == LAMP] == ["bright_value", "colour"]
        assert await session.request("get_status", [SOCKET, LAMP, THERMOSTAT]) == before
        assert session.events() == []


@pytest.mark.parametrize(
    "items, leading",
    [
        ([write("x", a=1), write(SIREN, alarm=True)], "unknown_device"),
        ([write(SIREN, nothing=1), write("x", a=1)], "device_offline"),
        ([write(SIREN, alarm="loud")], "device_offline"),
        ([write(LAMP, nothing=1), write("x", a=1)], "unsupported_code"),
        ([write(LAMP, bright_value=0, nothing=1), write(SIREN, alarm=1)], "invalid_value"),
        ([write(LAMP, nothing=1, bright_value=0)], "unsupported_code"),
    ],
)
async def test_items_are_checked_one_by_one_device_before_code_before_value(gateway, items, leading):
    async with gateway.connect() as session:
        assert (await session.ask("set_value", items))["error"]["code"] == leading


async def test_device_is_accepted_for_devid_and_devid_wins(gateway):
    on = [{"k": "switch_1", "v": True}]
    async with gateway.connect() as session:
        assert (await session.ask("set_value", [{"device": SOCKET, "value": on}]))["success"] is True
        assert (await session.ask("set_value", [{"devid": SOCKET, "device": "x", "value": on}]))["success"] is True
        response = await session.ask("set_value", [{"device": SOCKET, "devid": "x", "value": on}])
        assert response["error"]["code"] == "unknown_device"


async def test_an_empty_request_succeeds(gateway):
    async with gateway.connect() as session:
        assert (await session.ask("set_value", []))["success"] is True


async def test_a_batch_over_several_devices_is_done_whole(gateway):
    async with gateway.connect() as session:
        response = await session.ask("set_value", [write(SOCKET, switch_1=True, countdown_1=7), write(LAMP, bright_value=11)])
        assert response["success"] is True
        socket, lamp = await session.request("get_status", [SOCKET, LAMP])
        assert profiles.values_of(socket) == {"switch_1": True, "countdown_1": 7}
        assert profiles.values_of(lamp)["bright_value"] == 11


async def test_the_last_of_two_writes_of_one_point_wins(gateway):
    twice = [{"devid": LAMP, "value": [{"k": "bright_value", "v": 20}, {"k": "bright_value", "v": 30}]}]
    apart = [write(LAMP, bright_value=40), write(SOCKET, countdown_1=1), write(LAMP, bright_value=50)]
    async with gateway.connect() as session:
        for request, last in [(twice, 30), (apart, 50)]:
            assert (await session.ask("set_value", request))["success"] is True
            assert profiles.values_of(await session.status(LAMP))["bright_value"] == last
        told = [profiles.values_of(e["data"]) for e in session.events()]
        assert [t["bright_value"] for t in told if "bright_value" in t][-1] == 50


async def test_writes_to_one_device_take_effect_in_order_of_arrival(gateway):
    async with gateway.connect() as session:
        for id, value in enumerate(range(100, 200), start=1):
            await session.send({"id": id, "type": "set_value", "data": [write(LAMP, bright_value=value)]})
        await session.response(100)
        await session.first(lambda m: len([x for x in session.messages if x["type"] == "result"]) == 100)
        assert profiles.values_of(await session.status(LAMP))["bright_value"] == 199
        told = [profiles.values_of(e["data"])["bright_value"] for e in session.events()]
        assert told == list(range(100, 200))


async def test_sessions_that_write_at_once_agree_in_the_end(gateway):
    async with gateway.connect() as one, gateway.connect() as two:
        writes = [s.set(LAMP, bright_value=100 + 2 * n + i) for n in range(20) for i, s in enumerate((one, two))]
        assert all(r["success"] for r in await asyncio.gather(*writes))
        await one.first(lambda m: len(one.events()) == 40)
        await two.first(lambda m: len(two.events()) == 40)
        assert [e["id"] for e in one.events()] == [e["id"] for e in two.events()]
        assert one.events() == two.events()
        last = profiles.values_of(one.events()[-1]["data"])["bright_value"]
        assert profiles.values_of(await one.status(LAMP))["bright_value"] == last


async def test_one_bad_value_among_many_changes_nothing_anywhere(gateway):
    async with gateway.connect() as session, gateway.connect() as other:
        everything = await session.request("get_status", [LAMP, SOCKET])
        items = [write(SOCKET, switch_1=True, countdown_1=99), write(LAMP, switch_led=False, segments=8)]
        assert (await session.ask("set_value", items))["error"]["code"] == "invalid_value"
        assert await session.request("get_status", [LAMP, SOCKET]) == everything
        assert await other.request("get_status", [LAMP, SOCKET]) == everything
        assert session.events() == other.events() == []
