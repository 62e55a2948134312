"""`devices`, `schema` and `status` of the program, against the reference gateway."""

import json

import pytest

from harness.files import KEY_TEXT, write_key
from reference import crypto, profiles, wire
from reference.crypto import Options
from reference.gateway import Gateway

LAMP, SOCKET, THERMOSTAT, UNTIDY, SIREN = "0a11lamp0001", "0a11socket02", "7c20thermo03", "e5untidy0006", "e5siren00005"


def by_device(objects):
    return {o["devid"]: o for o in objects}


async def test_devices_prints_id_category_and_whether_it_is_online(command, key, options):
    async with Gateway(key, options=options) as gateway:
        outcome = (await command(gateway.url, "devices", "--json")).must_exit(0)
    assert by_device(outcome.json()) == {
        d["devid"]: {"devid": d["devid"], "category": d["category"], "online": d["online"]} for d in profiles.ALL
    }


async def test_schema_prints_the_objects_of_the_wire(command, key, options):
    async with Gateway(key, options=options) as gateway:
        outcome = (await command(gateway.url, "schema", "--json")).must_exit(0)
    assert by_device(outcome.json()) == {d["devid"]: profiles.schema_of(d) for d in profiles.ALL}


async def test_status_prints_the_objects_of_the_wire(command, key, options):
    async with Gateway(key, options=options) as gateway:
        outcome = (await command(gateway.url, "status", "--json")).must_exit(0)
    assert by_device(outcome.json()) == {d["devid"]: profiles.status_of(d) for d in profiles.ALL}


@pytest.mark.parametrize("name", ["schema", "status"])
async def test_only_the_named_devices_are_printed(command, key, name):
    async with Gateway(key) as gateway:
        outcome = (await command(gateway.url, name, SIREN, LAMP, "--json")).must_exit(0)
    assert sorted(by_device(outcome.json())) == sorted([SIREN, LAMP])


async def test_values_are_printed_exactly_as_they_came(command, key):
    """No number changes its digits, no string its characters, no object the order of its members."""
    odd = '{"z":1.50,"a":[1e3,-0,12345678901234567890],"é":"\\u2103 \\ud83d\\ude00","n":null}'
    values = f'[{{"k":"colour_data","v":{odd}}},{{"k":"bright_value","v":18446744073709551615}},{{"k":"x","v":0.1000}}]'

    def spelling(message):
        text = wire.encode(message).decode()
        return text.replace('"@values@"', values).encode()

    (device,) = profiles.home(profiles.LAMP)
    device["value"] = "@values@"
    async with Gateway(key, [device], spelling=spelling) as gateway:
        outcome = (await command(gateway.url, "status", "--json")).must_exit(0)
    (status,) = wire.verbatim(outcome.out)
    assert wire.member(status, "value") == wire.verbatim(values)


async def test_the_schema_is_printed_exactly_as_it_came(command, key):
    async with Gateway(key) as gateway:
        outcome = (await command(gateway.url, "schema", UNTIDY, "--json")).must_exit(0)
    (printed,) = outcome.json()
    assert [p["values"] for p in printed["status"]] == [p["values"] for p in profiles.UNTIDY["status"]]


async def test_an_empty_home_is_an_empty_array(command, key):
    async with Gateway(key, []) as gateway:
        for name in ("devices", "schema", "status"):
            assert (await command(gateway.url, name, "--json")).must_exit(0).json() == []


async def test_tables_show_scaled_values_with_their_units(command, key):
    async with Gateway(key) as gateway:
        outcome = (await command(gateway.url, "status", THERMOSTAT)).must_exit(0)
        assert "21.0" in outcome.out or "21 ℃" in outcome.out, outcome
        assert "19.5" in outcome.out and "℃" in outcome.out, outcome
        table = (await command(gateway.url, "status")).must_exit(0).out
        assert all(d["devid"] in table for d in profiles.ALL if d["value"])
        assert "zebra" in table
        table = (await command(gateway.url, "devices")).must_exit(0).out
        assert all(d["devid"] in table and d["category"] in table for d in profiles.ALL)
        (await command(gateway.url, "schema")).must_exit(0)


async def test_unknown_fields_are_ignored(command, key, options):
    async with Gateway(key, options=options, unknown_fields=True) as gateway:
        outcome = (await command(gateway.url, "status", LAMP, "--json")).must_exit(0)
        assert outcome.json()[0]["devid"] == LAMP
        (await command(gateway.url, "set", SOCKET, "switch_1=on")).must_exit(0)
        assert len(gateway.asked("set_value")) == 1


async def test_unknown_events_and_events_of_the_first_moment_do_no_harm(command, key):
    early = [
        {"id": 1, "type": "event", "event_type": "weather_updated", "data": {"sun": True}},
        {"id": 2, "type": "event", "event_type": "state_changed", "data": {"devid": "not-here", "value": [{"k": "x", "v": 1}]}},
        {"id": 3, "type": "event", "event_type": "online_updated", "data": {"devid": LAMP, "state": True}},
        {"id": 4, "type": "event", "event_type": "registry_updated"},
        {"id": 5, "type": "result", "success": True, "result": ["stray"]},
    ]
    async with Gateway(key, behind_auth_ok=early) as gateway:
        outcome = (await command(gateway.url, "devices", "--json")).must_exit(0)
        assert len(outcome.json()) == len(profiles.ALL)


async def test_the_other_spelling_of_function_is_understood(command, key):
    async with Gateway(key, function_name="functions") as gateway:
        (await command(gateway.url, "set", THERMOSTAT, "temp_set=21.5")).must_exit(0)
        assert gateway.asked("set_value")[0]["data"][0]["value"] == [{"k": "temp_set", "v": 215}]


async def test_white_space_in_messages_means_nothing(command, key, options):
    def spelling(message):
        return ("\n\t " + json.dumps(message, indent=3) + "\r\n").encode()

    async with Gateway(key, options=options, spelling=spelling) as gateway:
        outcome = (await command(gateway.url, "status", "--json")).must_exit(0)
        assert len(outcome.json()) == len(profiles.ALL)


async def test_many_devices_are_asked_for_in_slices_of_100(command, key):
    async with Gateway(key, profiles.many_sockets(250)) as gateway:
        outcome = (await command(gateway.url, "status", "--json")).must_exit(0)
        assert len(outcome.json()) == 250
        (await command(gateway.url, "schema", "--json")).must_exit(0)
        slices = [r["data"] for kind in ("get_status", "get_schema") for r in gateway.asked(kind)]
        assert slices and max(map(len, slices)) <= 100


async def test_the_upgrade_asks_for_nothing_but_a_websocket(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "devices")).must_exit(0)
        (await command(f"{gateway.url}/some/path", "devices")).must_exit(0)
        plain, with_path = gateway.sessions
        assert (plain.path, with_path.path) == ("/", "/some/path")
        assert not {"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"} & set(plain.headers)


async def test_a_client_that_is_done_says_so(command, key, options):
    async with Gateway(key, options=options) as gateway:
        (await command(gateway.url, "devices")).must_exit(0)
        (session,) = gateway.sessions
        await session.socket.wait_closed()
        assert session.close_code == 1000


async def test_the_client_s_requests_are_as_the_specification_says(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "status")).must_exit(0)
        (await command(gateway.url, "set", SOCKET, "switch_1=on")).must_exit(0)
        for session in gateway.sessions:
            ids = [r["id"] for r in session.requests]
            assert len(set(ids)) == len(ids)
            for request in session.requests:
                assert set(request) <= {"id", "type", "data"}
                assert request["type"] in ("get_devices", "get_schema", "get_status", "set_value")
                assert isinstance(request["id"], int)


async def test_no_nonce_is_used_twice(command, key):
    async with Gateway(key) as gateway:
        for _ in range(4):
            (await command(gateway.url, "devices")).must_exit(0)
        answers = [wire.decode(wire.open_message(Options(), key, s.frames[0])) for s in gateway.sessions]
        nonces = {a["data"]["nonce"] for a in answers}
        assert len(nonces) == 4
        assert {len(crypto.from_base64(n)) for n in nonces} == {16}


async def test_the_key_may_come_from_a_file_standard_input_or_the_environment(run, key, key_file):
    write_key(key_file, KEY_TEXT, "\r\n")
    async with Gateway(key) as gateway:
        arguments = ("devices", "--gateway", gateway.url, "--json")
        for outcome in [
            await run(*arguments, "--key-file", key_file),
            await run(*arguments, "--key-file", "-", stdin=KEY_TEXT.encode()),
            await run(*arguments, HEARTHGATE_KEY=KEY_TEXT),
        ]:
            assert len(outcome.must_exit(0).json()) == len(profiles.ALL)
            assert KEY_TEXT not in outcome.out + outcome.err
