"""The reference client and the reference gateway understand each other: what the other suites stand on."""

import asyncio

import pytest

from reference import client, crypto, profiles, wire
from reference.client import HandshakeFailed, RequestRefused
from reference.crypto import Options
from reference.gateway import Gateway, port_that_answers

VARIANTS = [
    Options(padding="zero"),
    Options(key_form="md5"),
    Options(proof="sha256"),
    Options(proof_over="base64"),
    Options(wire="base64", padding="zero", key_form="md5", proof="sha256", proof_over="base64"),
]


async def test_a_session_in_every_wire_encoding(options, key):
    async with Gateway(key, options=options) as gateway, client.connect(gateway.url, key, options) as session:
        assert await session.request("get_devices") == [d["devid"] for d in profiles.ALL]
        assert await session.request("get_schema", ["0a11lamp0001"]) == [profiles.schema_of(profiles.LAMP)]
        response = await session.set("0a11lamp0001", bright_value=10)
        assert response == {"id": 3, "type": "result", "success": True}
        event = await session.event("state_changed")
        assert event["data"] == {"devid": "0a11lamp0001", "value": [{"k": "bright_value", "v": 10}]}
        assert profiles.values_of(await session.status("0a11lamp0001"))["bright_value"] == 10


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_a_session_in_every_variant(variant):
    key = crypto.parse_key("00112233445566778899aabbccddeeff", variant.key_form)
    async with Gateway(key, options=variant) as gateway, client.connect(gateway.url, key, variant) as session:
        assert (await session.status("0a11socket02"))["online"] is True


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=str)
async def test_a_variant_that_only_one_side_has_fails(variant):
    text = "00112233445566778899aabbccddeeff"
    theirs, ours = crypto.parse_key(text, variant.key_form), crypto.parse_key(text)
    async with Gateway(theirs, options=variant) as gateway:
        with pytest.raises((HandshakeFailed, crypto.DoesNotDecrypt, wire.NoObject, client.ConnectionClosed)):
            async with client.connect(gateway.url, ours) as session:
                await session.request("get_devices")


async def test_a_wrong_key_is_noticed_by_the_client(key):
    async with Gateway(key) as gateway:
        with pytest.raises((crypto.DoesNotDecrypt, wire.NoObject)):
            async with client.connect(gateway.url, bytes(16)):
                pass


async def test_a_wrong_key_is_noticed_by_the_gateway(key):
    plain = Options(wire="plain")
    async with Gateway(key, options=plain) as gateway, client.dial(gateway.url, plain) as link:
        nonce = await link.challenge(key)
        await link.send(link.answer(bytes(16), nonce, crypto.fresh_nonce()), key)
        close, said = await link.closed()
        assert (close.code, close.reason, said) == (1008, "authentication failed", [])


async def test_a_gateway_without_the_key_is_found_out(key, options):
    async with Gateway(key, options=options, wrong_proof=True) as gateway:
        with pytest.raises(HandshakeFailed):
            async with client.connect(gateway.url, key, options):
                pass


async def test_a_refused_write_changes_nothing(key):
    async with Gateway(key) as gateway, client.connect(gateway.url, key) as session:
        before = await session.status("0a11lamp0001")
        wanted = [{"k": "bright_value", "v": 11}, {"k": "bright_value", "v": 1001}, {"k": "colour", "v": 1}]
        with pytest.raises(RequestRefused) as refused:
            await session.request("set_value", [{"devid": "0a11lamp0001", "value": wanted}])
        assert refused.value.error["code"] == "invalid_value"
        assert [d["code"] for d in refused.value.error["details"]] == ["invalid_value", "unsupported_code"]
        assert await session.status("0a11lamp0001") == before


async def test_events_reach_every_session_under_one_number(key):
    async with Gateway(key) as gateway:
        async with client.connect(gateway.url, key) as one, client.connect(gateway.url, key) as two:
            await one.request("get_devices")
            await two.request("get_devices")
            await gateway.push("online_updated", {"devid": "e5siren00005", "state": True})
            assert await one.event() == await two.event()


async def test_the_misbehaviour_that_a_test_asks_for_happens(key):
    async with Gateway(key, refuse={"get_devices": {"code": "busy"}}, close_at={"get_schema": (1011, "a bug")}) as gateway:
        async with client.connect(gateway.url, key) as session:
            assert (await session.ask("get_devices"))["error"] == {"code": "busy"}
            with pytest.raises(client.ConnectionClosed):
                await session.ask("get_schema", [])
    async with Gateway(key, silent_from="auth_required") as gateway, client.dial(gateway.url) as link:
        with pytest.raises(TimeoutError):
            await link.receive(key, patience=0.1)
    async with port_that_answers(b"hello") as url:
        with pytest.raises(Exception, match="HTTP"):
            async with client.dial(url):
                pass


async def test_the_encoding_is_told_from_the_first_message(key, options):
    async with Gateway(key, options=options) as gateway, client.dial(gateway.url) as link:
        async with asyncio.timeout(5):
            assert wire.detect(await link.socket.recv()) == options.wire


@pytest.mark.parametrize(
    "text",
    ["[]", "1", "{", '{"a":1,}', "{'a':1}", '{"a":NaN}', '\ufeff{"a":1}', '{"a":1} x', '{"a":01}', '{"a":' + "[" * 64 + "]" * 64 + "}"],
)
def test_what_is_no_strict_json_object_is_refused(text):
    with pytest.raises(wire.NoObject):
        wire.decode(text.encode())


def test_64_levels_are_no_too_deep():
    assert wire.decode(('{"a":' + "[" * 63 + "]" * 63 + "}").encode())


def test_a_key_file_loses_one_line_ending_and_nothing_else():
    for data, text in [(b" key \n", " key "), (b" key \r\n", " key "), (b"key\n\n", "key\n"), (b"key", "key")]:
        assert crypto.key_text(data) == text


@pytest.mark.parametrize("text", ["", "short", "seventeen letters", "fifteen letters", "0" * 31, "0" * 33, "g" * 32, "a key with a tab\t"])
def test_a_bad_key_is_refused_without_being_repeated(text):
    with pytest.raises(crypto.BadKey) as refused:
        crypto.parse_key(text)
    assert not text or text not in str(refused.value)
