"""What the gateway answers to requests that are right, or wrong in a way that has its own code: section 5."""

import asyncio

import pytest

from reference import profiles, rules, wire
from reference.client import connect

LAMP, SOCKET, ODD, SIREN = "0a11lamp0001", "0a11socket02", "7c20odd00004", "e5siren00005"


def without_order(devices):
    """A schema or status without the order of its points, which means nothing."""
    return [
        {k: sorted(v, key=str) if isinstance(v, list) else v for k, v in device.items()}
        for device in devices
    ]


async def test_get_devices_lists_every_device_once(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        listed = await session.request("get_devices")
        assert sorted(listed) == sorted(d["devid"] for d in profiles.ALL)


@pytest.mark.parametrize("data", [None, [], {}, 1, "x", ["no such device"]], ids=str)
async def test_get_devices_ignores_data(gateway, data):
    async with gateway.connect() as session:
        assert len(await session.request("get_devices", data)) == len(profiles.ALL)


async def test_get_schema_gives_the_profile_as_it_is(start_gateway, options):
    wanted = [profiles.schema_of(d) for d in profiles.ALL]
    async with start_gateway(options=options).connect() as session:
        got = await session.request("get_schema", [d["devid"] for d in profiles.ALL])
        assert without_order(got) == without_order(wanted)


async def test_get_status_gives_the_values_as_they_are(start_gateway, options):
    wanted = [profiles.status_of(d) for d in profiles.ALL]
    async with start_gateway(options=options).connect() as session:
        got = await session.request("get_status", [d["devid"] for d in profiles.ALL])
        assert without_order(got) == without_order(wanted)


async def test_the_name_of_a_device_is_never_on_the_wire(gateway):
    async with gateway.connect() as session:
        ids = await session.request("get_devices")
        await session.request("get_schema", ids)
        await session.request("get_status", ids)
        said = b"".join(session.texts).decode()
        assert not [d["name"] for d in profiles.ALL if d["name"] in said]


@pytest.mark.parametrize("kind", ["get_schema", "get_status"])
async def test_results_keep_the_order_of_the_request_and_doubled_devices_come_twice(gateway, kind):
    asked = [SIREN, LAMP, SIREN, SOCKET, LAMP]
    async with gateway.connect() as session:
        assert [d["devid"] for d in await session.request(kind, asked)] == asked


@pytest.mark.parametrize("kind", ["get_schema", "get_status"])
async def test_an_empty_array_gives_an_empty_array(gateway, kind):
    async with gateway.connect() as session:
        response = await session.ask(kind, [])
        assert response["success"] is True
        assert response["result"] == []


@pytest.mark.parametrize("kind", ["get_schema", "get_status"])
async def test_one_unknown_device_fails_the_whole_request(gateway, kind):
    async with gateway.connect() as session:
        response = await session.ask(kind, [LAMP, "no-such-device", SOCKET])
        assert response["success"] is False
        assert "result" not in response
        assert response["error"]["code"] == "unknown_device"
        assert "no-such-device" in response["error"]["message"]


async def test_a_device_is_found_by_its_whole_id_only(gateway):
    async with gateway.connect() as session:
        for almost in [LAMP[:-1], LAMP + "0", LAMP.upper(), "", " " + LAMP]:
            assert (await session.ask("get_status", [almost]))["error"]["code"] == "unknown_device"


async def test_an_unknown_type_is_answered_with_its_id(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        for id, kind in enumerate(["get_weather", "", "GET_DEVICES", "get_devices ", "auth_required"], start=50):
            await session.send({"id": id, "type": kind, "data": []})
            response = await session.response(id)
            assert response["success"] is False
            assert response["error"]["code"] == "unknown_type"


@pytest.mark.parametrize("id", [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)], ids=str)
async def test_the_response_repeats_the_id(gateway, id):
    async with gateway.connect() as session:
        await session.send({"id": id, "type": "get_devices"})
        assert (await session.response(id))["success"] is True


async def test_the_same_id_twice_is_answered_twice(gateway):
    async with gateway.connect() as session:
        for _ in range(2):
            await session.send({"id": 5, "type": "get_devices"})
        await session.first(lambda m: len(session.messages) == 2)
        assert [m["id"] for m in session.messages] == [5, 5]


async def test_unknown_fields_are_ignored(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        await session.send({"zz": [{"deep": None}], "id": 1, "type": "get_status", "data": [LAMP], "success": 7, "error": "x"})
        assert (await session.response(1))["success"] is True
        item = {"devid": SOCKET, "zz": 1, "value": [{"k": "switch_1", "v": True, "t": 1700000000, "zz": {}}], "name": []}
        assert (await session.ask("set_value", [item]))["success"] is True


async def test_white_space_and_order_mean_nothing(gateway):
    async with gateway.connect() as session:
        await session.send(b'\r\n\t {"data":\n["%s" ] , "type" : "get_status","id":9}\n ' % LAMP.encode())
        assert (await session.response(9))["result"][0]["devid"] == LAMP


async def test_escaped_text_is_the_same_text(gateway):
    async with gateway.connect() as session:
        await session.send(b'{"\\u0069d":9,"type":"get\\u005fstatus","data":["\\u0030a11lamp0001"]}')
        assert (await session.response(9))["result"][0]["devid"] == LAMP


async def test_events_and_results_of_a_client_are_ignored(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        await session.send({"id": 1, "type": "event", "event_type": "state_changed", "data": {"devid": LAMP, "value": [{"k": "switch_led", "v": False}]}})
        await session.send({"id": 2, "type": "result", "success": True, "result": []})
        status = await session.status(LAMP)
        assert profiles.values_of(status)["switch_led"] is True
        assert len(session.messages) == 1


async def test_a_write_only_point_is_never_in_a_status(gateway):
    async with gateway.connect() as session:
        assert (await session.set(ODD, identify=True))["success"] is True
        assert set(profiles.values_of(await session.status(ODD))) == {"level", "minutes"}


async def test_a_thousand_pipelined_requests_are_all_answered(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        wanted = range(1, 1001)
        for id in wanted:
            kind = [("get_devices", None), ("get_status", [LAMP]), ("get_schema", [SOCKET, LAMP])][id % 3]
            await session.send({"id": id, "type": kind[0], "data": kind[1]})
        await session.first(lambda m: len(session.messages) >= 1000, patience=30)
        assert sorted(m["id"] for m in session.messages) == list(wanted)
        assert all(m["success"] for m in session.messages)


async def test_requests_of_many_sessions_do_not_get_mixed_up(gateway):
    async def one(number):
        async with connect(gateway.url, gateway.key) as session:
            for turn in range(5):
                id = number * 100 + turn
                await session.send({"id": id, "type": "get_status", "data": [LAMP] * number})
                assert len((await session.response(id))["result"]) == number
            assert len(session.messages) == 5

    await asyncio.gather(*[one(number) for number in range(1, 31)])


async def test_every_answer_has_the_fields_of_the_specification_and_no_others(gateway):
    async with gateway.connect() as session:
        good = [await session.ask("get_devices"), await session.ask("get_status", [LAMP])]
        done = await session.set(SOCKET, switch_1=True)
        bad = [await session.ask("get_status", 1), await session.ask("nonsense"), await session.ask("get_schema", ["x"])]
    assert all(set(r) == {"id", "type", "success", "result"} for r in good)
    assert set(done) in ({"id", "type", "success"}, {"id", "type", "success", "result"})
    assert all(set(r) == {"id", "type", "success", "error"} for r in bad)
    for response in bad:
        error = response["error"]
        assert {"code", "message"} <= set(error) <= {"code", "message", "details"}
        assert error["message"]
        for detail in error.get("details", []):
            assert {"devid", "code", "message"} <= set(detail) <= {"devid", "k", "code", "message"}


async def test_a_status_may_be_of_the_size_that_it_is(start_gateway):
    """Well over the 64 KiB that one WebSocket length field holds, and well under the limit of 16 MiB."""
    async with start_gateway(profiles.many_sockets(300)).connect() as session:
        ids = await session.request("get_devices")
        assert len(await session.request("get_schema", ids * 3)) == 900
        assert len(session.texts[-1]) > 256 * 1024


async def test_an_answer_over_16_mib_is_refused_with_advice(gateway):
    async with gateway.connect() as session:
        many = [LAMP] * 30_000
        assert len(wire.encode({"id": 1, "type": "get_schema", "data": many})) < wire.GATEWAY_LIMIT
        response = await session.ask("get_schema", many, patience=30)
        assert response["error"]["code"] == "invalid_request"
        assert "device" in response["error"]["message"]
        assert await session.request("get_devices")


def test_the_requests_of_this_file_stand_on_sound_profiles():
    """The reference's own profiles are as valid as they claim to be, so that failures mean the gateway."""
    for device in (profiles.LAMP, profiles.SOCKET, profiles.THERMOSTAT):
        declared = {point["code"]: point for point in device["function"]}
        for code, value in profiles.values_of(device).items():
            if code in declared:
                assert rules.value_fault(declared[code], value) is None
