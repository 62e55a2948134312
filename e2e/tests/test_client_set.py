"""`set` of the program: what a person types becomes the wire's value, and nonsense is never sent."""

import pytest

from reference import profiles, wire
from reference.gateway import Gateway
from reference.profiles import point, profile

LAMP, SOCKET, THERMOSTAT, ODD, SIREN = "0a11lamp0001", "0a11socket02", "7c20thermo03", "7c20odd00004", "e5siren00005"

METERS = [
    point("milli", "Integer", unit="m", min=-5000, max=5000, scale=3, step=1),
    point("tenth", "Integer", unit="℃", min=0, max=1000, scale=1, step=5),
    {"code": "text_scale", "type": "Integer", "values": '{"min":"0","max":"1000","scale":"2","step":"1"}'},
    point("huge", "Integer", min=0, max=2**53 + 9, scale=2, step=1),
    point("word", "String", maxlen=20),
]
METER = profile("ab00meter", "zndb", "Meter", function=METERS, status=METERS, milli=0, tenth=0, text_scale=0, huge=0, word="")

IN_UNITS = [
    (SOCKET, "switch_1=on", True),
    (SOCKET, "switch_1=off", False),
    (SOCKET, "switch_1=true", True),
    (SOCKET, "switch_1=false", False),
    (SOCKET, "countdown_1=0", 0),
    (SOCKET, "countdown_1=43200", 43200),
    (THERMOSTAT, "temp_set=21.5", 215),
    (THERMOSTAT, "temp_set=21", 210),
    (THERMOSTAT, "temp_set=5.0", 50),
    (THERMOSTAT, "temp_set=35", 350),
    (THERMOSTAT, "mode=manual", "manual"),
    (LAMP, "work_mode=colour", "colour"),
    (LAMP, "scene_name=a=b ", "a=b "),
    (LAMP, "scene_name=℃", "℃"),
    (LAMP, "scene_raw=AQID", "AQID"),
    ("ab00meter", "milli=0.001", 1),
    ("ab00meter", "milli=-4.999", -4999),
    ("ab00meter", "milli=1.1", 1100),
    ("ab00meter", "tenth=0.7", 7),
    ("ab00meter", "tenth=99.9", 999),
    ("ab00meter", "text_scale=9.99", 999),
    ("ab00meter", "huge=90071992547410.01", 9007199254741001),
    ("ab00meter", "word=12", "12"),
    ("ab00meter", "word=true", "true"),
]
RAW = [
    (SOCKET, "switch_1:=true", True),
    (SOCKET, "countdown_1:=60", 60),
    (THERMOSTAT, "temp_set:=215", 215),
    (LAMP, 'work_mode:="scene"', "scene"),
    (LAMP, 'colour_data:={"h":1,"s":2,"v":3}', {"h": 1, "s": 2, "v": 3}),
    (LAMP, "segments:=7", 7),
]


def sent(gateway):
    return [
        (item["devid"], value["k"], value["v"])
        for request in gateway.asked("set_value") for item in request["data"] for value in item["value"]
    ]  # fmt: skip


@pytest.mark.parametrize("devid, typed, value", IN_UNITS + RAW, ids=[f"{t}" for _, t, _ in IN_UNITS + RAW])
async def test_what_is_typed_becomes_the_value_of_the_wire(command, key, devid, typed, value):
    async with Gateway(key, profiles.home(*profiles.ALL, METER)) as gateway:
        (await command(gateway.url, "set", devid, typed)).must_exit(0)
        code = typed.split("=")[0].rstrip(":")
        assert sent(gateway) == [(devid, code, value)]
        assert type(sent(gateway)[0][2]) is type(value)


async def test_several_values_are_one_request(command, key, options):
    async with Gateway(key, options=options) as gateway:
        outcome = await command(gateway.url, "set", LAMP, "switch_led=off", "bright_value=10", 'colour_data:={"h":1}', "--json")
        outcome.must_exit(0)
        assert len(gateway.asked("set_value")) == 1
        assert sent(gateway) == [(LAMP, "switch_led", False), (LAMP, "bright_value", 10), (LAMP, "colour_data", {"h": 1})]
        printed = outcome.json()
        if isinstance(printed, dict) and "success" in printed:
            assert printed["success"] is True


async def test_an_integer_is_sent_as_an_integer(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set", THERMOSTAT, "temp_set=21.0")).must_exit(0)
        (session,) = gateway.authenticated
        frames = [wire.open_message(gateway.options, session.key, f) for f in session.frames[1:]]
        assert b'"v":210}' in frames[-1].replace(b" ", b"")


IMPOSSIBLE = [
    ("no-such-device", "switch_1=on", "no-such-device"),
    (SOCKET, "switch_9=on", "switch_9"),
    (SOCKET, "switch_1=perhaps", "switch_1"),
    (SOCKET, "countdown_1=43201", "43200"),
    (SOCKET, "countdown_1=-1", "countdown_1"),
    (SOCKET, "countdown_1=1.5", "countdown_1"),
    (SOCKET, "countdown_1=soon", "countdown_1"),
    (SOCKET, "countdown_1=", "countdown_1"),
    (THERMOSTAT, "temp_set=35.1", "35"),
    (THERMOSTAT, "temp_set=4.9", "5"),
    (THERMOSTAT, "temp_set=21.55", "temp_set"),
    (THERMOSTAT, "temp_set=NaN", "temp_set"),
    (THERMOSTAT, "temp_current=20", "temp_current"),
    (THERMOSTAT, "mode=off", "auto"),
    (LAMP, "scene_name=123456789", "scene_name"),
    (LAMP, "scene_raw=AQIDBAU=", "scene_raw"),
    (LAMP, "scene_raw=???", "scene_raw"),
    (LAMP, "colour_data:={oops", "colour_data"),
    (LAMP, "bright_value:=five", "bright_value"),
    (ODD, "minutes=101", "100"),
    (ODD, "level=low", "level"),
    (SOCKET, "switch_1", "switch_1"),
    (SOCKET, "=on", ""),
]


@pytest.mark.parametrize("devid, typed, named", IMPOSSIBLE, ids=[f"{d} {t}" for d, t, _ in IMPOSSIBLE])
async def test_what_is_impossible_is_refused_before_anything_is_sent(command, key, devid, typed, named):
    async with Gateway(key) as gateway:
        outcome = await command(gateway.url, "set", devid, typed)
        assert gateway.asked("set_value") == []
        outcome.must_exit(2).must_say(named)


async def test_one_impossible_value_keeps_the_others_from_being_sent(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set", LAMP, "switch_led=off", "bright_value=5")).must_exit(2).must_say("bright_value")
        assert gateway.asked("set_value") == []


async def test_set_needs_a_device_and_a_value(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set")).must_exit(2)
        (await command(gateway.url, "set", SOCKET)).must_exit(2)
        assert gateway.asked("set_value") == []


async def test_a_write_only_point_can_be_set(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set", ODD, "identify=on")).must_exit(0)
        assert sent(gateway) == [(ODD, "identify", True)]


async def test_an_offline_device_is_the_gateways_to_refuse(command, key):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set", SIREN, "alarm=on")).must_exit(1).must_say("device_offline", SIREN)


# How a device may be named


@pytest.mark.parametrize("prefix", ["0a11s", SOCKET[:-1], SOCKET])
async def test_an_unambiguous_prefix_is_enough(command, key, prefix):
    async with Gateway(key) as gateway:
        (await command(gateway.url, "set", prefix, "switch_1=on")).must_exit(0)
        assert sent(gateway) == [(SOCKET, "switch_1", True)]
        (status,) = (await command(gateway.url, "status", prefix, "--json")).must_exit(0).json()
        assert status["devid"] == SOCKET


@pytest.mark.parametrize("arguments", [["status", "0a11"], ["schema", "7c20"], ["set", "0a11", "switch_1=on"], ["watch", "e5"]], ids=" ".join)
async def test_an_ambiguous_prefix_is_refused_with_what_it_could_be(command, key, arguments):
    async with Gateway(key) as gateway:
        outcome = await command(gateway.url, *arguments)
        assert gateway.asked("set_value") == []
        outcome.must_exit(2).must_say(arguments[1])


@pytest.mark.parametrize("arguments", [["status", "nobody"], ["schema", "nobody"], ["set", "nobody", "switch_1=on"], ["watch", "nobody"]], ids=" ".join)
async def test_an_unknown_device_is_refused(command, key, arguments):
    async with Gateway(key) as gateway:
        (await command(gateway.url, *arguments)).must_exit(2).must_say("nobody")


async def test_a_whole_id_is_never_ambiguous(command, key):
    twins = profiles.home(profiles.SOCKET, profiles.SOCKET)
    twins[0]["devid"], twins[1]["devid"] = "aa11", "aa1122"
    async with Gateway(key, twins) as gateway:
        (await command(gateway.url, "set", "aa11", "switch_1=on")).must_exit(0)
        assert sent(gateway) == [("aa11", "switch_1", True)]
