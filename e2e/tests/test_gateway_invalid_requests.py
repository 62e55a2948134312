"""What is no request at all is `invalid_request`, and the session lives on: sections 3 and 5."""

import pytest

from reference.crypto import Options

LAMP, SOCKET = "0a11lamp0001", "0a11socket02"

NO_OBJECT = {
    "an array": b"[]",
    "an array with a request": b'[{"id":1,"type":"get_devices"}]',
    "a number": b"1",
    "a string": b'"get_devices"',
    "null": b"null",
    "true": b"true",
    "nothing": b" ",
    "a word": b"get_devices",
    "half an object": b'{"id":1,"type":"get_devices"',
    "a trailing comma in an object": b'{"id":1,"type":"get_devices",}',
    "a trailing comma in an array": b'{"id":1,"type":"get_status","data":["0a11lamp0001",]}',
    "the lost quote of the seed": b'{"id":1,"type: "get_devices"}',
    "single quotes": b"{'id':1,'type':'get_devices'}",
    "a key without quotes": b'{id:1,"type":"get_devices"}',
    "a comment": b'{"id":1,/* hello */"type":"get_devices"}',
    "NaN": b'{"id":1,"type":"get_devices","x":NaN}',
    "Infinity": b'{"id":1,"type":"get_devices","x":-Infinity}',
    "a number with a leading zero": b'{"id":01,"type":"get_devices"}',
    "a number with a plus": b'{"id":+1,"type":"get_devices"}',
    "a number without a first digit": b'{"id":1,"type":"get_devices","x":.5}',
    "a raw control character in a string": b'{"id":1,"type":"get_devices","x":"\n"}',
    "an unknown escape": b'{"id":1,"type":"get_devices","x":"\\x41"}',
    "text behind the object": b'{"id":1,"type":"get_devices"} x',
    "two objects": b'{"id":1,"type":"get_devices"}{"id":2,"type":"get_devices"}',
    "a byte order mark": b'\xef\xbb\xbf{"id":1,"type":"get_devices"}',
}
NO_UTF8 = {
    "bytes that are no UTF-8": b'{"id":1,"type":"get_devices","x":"\xff\xfe"}',
    "an overlong encoding": b'{"id":1,"type":"get_devices","x":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"id":1,"type":"get_devices","x":"\xed\xa0\x80"}',
    "UTF-16": '{"id":1,"type":"get_devices"}'.encode("utf-16-le"),
    "Latin-1": '{"id":1,"type":"get_devices","x":"Küche"}'.encode("latin-1"),
}
NO_ID = {
    "no id": b'{"type":"get_devices"}',
    "id 1.0": b'{"id":1.0,"type":"get_devices"}',
    "id 1.5": b'{"id":1.5,"type":"get_devices"}',
    'id "1"': b'{"id":"1","type":"get_devices"}',
    "id true": b'{"id":true,"type":"get_devices"}',
    "id null": b'{"id":null,"type":"get_devices"}',
    "id [1]": b'{"id":[1],"type":"get_devices"}',
    "id {}": b'{"id":{},"type":"get_devices"}',
    "id 2^63": b'{"id":9223372036854775808,"type":"get_devices"}',
    "id -2^63-1": b'{"id":-9223372036854775809,"type":"get_devices"}',
    "id of a hundred digits": b'{"id":' + b"9" * 100 + b',"type":"get_devices"}',
    "nothing": b"{}",
    "an unknown type without id": b'{"type":"nonsense"}',
}
# Each with the id 77.
WRONG_SHAPE = {
    "no type": {},
    "type null": {"type": None},
    "type 1": {"type": 1},
    "type an array": {"type": ["get_devices"]},
    "get_schema without data": {"type": "get_schema"},
    "get_status without data": {"type": "get_status"},
    "set_value without data": {"type": "set_value"},
    "get_schema with null": {"type": "get_schema", "data": None},
    "get_schema with an object": {"type": "get_schema", "data": {"devid": LAMP}},
    "get_schema with a string": {"type": "get_schema", "data": LAMP},
    "get_status with numbers": {"type": "get_status", "data": [1]},
    "get_status with objects": {"type": "get_status", "data": [{"devid": LAMP}]},
    "get_status with null inside": {"type": "get_status", "data": [LAMP, None]},
    "get_status with nested arrays": {"type": "get_status", "data": [[LAMP]]},
    "set_value with an object": {"type": "set_value", "data": {"devid": LAMP, "value": []}},
    "set_value with strings": {"type": "set_value", "data": [LAMP]},
    "set_value without a device": {"type": "set_value", "data": [{"value": [{"k": "switch_1", "v": True}]}]},
    "set_value with a device number": {"type": "set_value", "data": [{"devid": 1, "value": [{"k": "switch_1", "v": True}]}]},
    "set_value without value": {"type": "set_value", "data": [{"devid": SOCKET}]},
    "set_value with an object value": {"type": "set_value", "data": [{"devid": SOCKET, "value": {"k": "switch_1", "v": True}}]},
    "set_value with a bare value": {"type": "set_value", "data": [{"devid": SOCKET, "value": [True]}]},
    "set_value without k": {"type": "set_value", "data": [{"devid": SOCKET, "value": [{"v": True}]}]},
    "set_value without v": {"type": "set_value", "data": [{"devid": SOCKET, "value": [{"k": "switch_1"}]}]},
    "set_value with a k number": {"type": "set_value", "data": [{"devid": SOCKET, "value": [{"k": 1, "v": True}]}]},
}


def is_invalid(response, id):
    return (
        response.get("type") == "result"
        and response.get("id") == id
        and type(response["id"]) is int
        and response.get("success") is False
        and response["error"]["code"] == "invalid_request"
        and bool(response["error"]["message"])
    )


async def answers_each(gateway, cases, id, ids=None):
    """One session hears all of it; each is answered by one invalid_request, and the session lives on."""
    wrong = []
    async with gateway.connect() as session:
        for name, message in cases.items():
            position = len(session.messages)
            await session.send(message)
            await session.ask("get_status", [])
            said = session.messages[position:]
            if len(said) != 2 or not any(is_invalid(m, i) for m in said for i in ids or [id]):
                wrong.append(f"{name}: {said}")
    assert not wrong, "\n".join(wrong)


async def test_what_is_no_json_object_has_the_id_0(start_gateway, options):
    await answers_each(start_gateway(options=options), NO_OBJECT, 0)


@pytest.mark.parametrize("encoding", ["binary", "base64"])
async def test_what_is_no_utf8_has_the_id_0(start_gateway, encoding):
    await answers_each(start_gateway(options=Options(wire=encoding)), NO_UTF8, 0)


async def test_what_has_no_integer_id_has_the_id_0(start_gateway, options):
    await answers_each(start_gateway(options=options), NO_ID, 0)


async def test_what_has_an_id_keeps_it(start_gateway, options):
    cases = {name: {"id": 77} | fields for name, fields in WRONG_SHAPE.items()}
    await answers_each(start_gateway(options=options), cases, 77)


@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
async def test_64_levels_are_taken_and_65_are_not(gateway, opening, closing):
    def nested(levels):  # the request itself is the first level
        inner = opening * (levels - 1) + (b"1" if opening != b"[" else b"") + closing * (levels - 1)
        return b'{"id":77,"type":"get_devices","x":' + inner + b"}"

    async with gateway.connect() as session:
        await session.send(nested(64))
        assert (await session.response(77))["success"] is True
    await answers_each(gateway, {"65 levels": nested(65)}, 0, ids=[0, 77])


async def test_absurd_depth_does_no_harm(gateway):
    for opening in (b"[", b'{"a":'):
        await answers_each(gateway, {"100,000 levels": b'{"id":77,"type":"get_devices","x":' + opening * 100_000}, 0, ids=[0, 77])


async def test_brackets_in_a_string_are_no_levels(gateway):
    async with gateway.connect() as session:
        await session.send({"id": 77, "type": "get_devices", "x": "[" * 1000 + '\\"{' * 100})
        assert (await session.response(77))["success"] is True


async def test_nothing_of_a_request_without_a_sound_shape_is_done(gateway):
    sound = {"devid": SOCKET, "value": [{"k": "switch_1", "v": True}]}
    async with gateway.connect() as session:
        for broken in [{"devid": SOCKET}, 1, {"devid": LAMP, "value": [{"k": "switch_led"}]}]:
            assert (await session.ask("set_value", [sound, broken]))["error"]["code"] == "invalid_request"
        status = await session.status(SOCKET)
        assert {"k": "switch_1", "v": False} in status["value"]
        assert session.events() == []


async def test_the_session_of_others_is_untouched(gateway):
    async with gateway.connect() as good:
        await answers_each(gateway, NO_OBJECT, 0)
        assert await good.request("get_devices")
        assert len(good.messages) == 1
