"""The variants of section 10, as options of the program's gateway and of its commands."""

import pytest

from harness.program import variant_flags
from reference import crypto
from reference.client import connect
from reference.crypto import Options
from reference.gateway import Gateway

CHARACTERS = "k9Xq2mPz7LwT4vRb"
DIGITS = "00112233445566778899aabbccddeeff"

VARIANTS = {
    "zero padding": (Options(padding="zero"), CHARACTERS),
    "zero padding in base64": (Options(wire="base64", padding="zero"), CHARACTERS),
    "a key in hexadecimal": (Options(key_form="hex"), DIGITS),
    "the MD5 of the key": (Options(key_form="md5"), CHARACTERS),
    "the MD5 of a key of hexadecimal digits": (Options(key_form="md5"), DIGITS),
    "a proof without key": (Options(proof="sha256"), CHARACTERS),
    "a proof over the text of the nonce": (Options(proof_over="base64"), CHARACTERS),
    "a proof without key over the text": (Options(proof="sha256", proof_over="base64"), CHARACTERS),
    "another path": (Options(path="/x"), CHARACTERS),
    "all at once": (Options("base64", "zero", "md5", "sha256", "base64", "/a/b"), CHARACTERS),
}
each_variant = pytest.mark.parametrize("name", VARIANTS)


@each_variant
async def test_the_gateway_speaks_the_variant(start_gateway, name):
    options, text = VARIANTS[name]
    gateway = start_gateway(None, options, key_text=text)
    async with connect(gateway.url + options.path, gateway.key, options) as session:
        for pad in range(16):  # every length of padding
            await session.send({"id": pad, "type": "get_status", "data": ["0a11socket02"], "pad": "x" * pad})
            assert (await session.response(pad))["success"] is True
        assert (await session.set("0a11socket02", switch_1=True))["success"] is True
        assert (await session.event())["data"]["value"] == [{"k": "switch_1", "v": True}]


@each_variant
async def test_the_commands_speak_the_variant(command, name):
    options, text = VARIANTS[name]
    async with Gateway(crypto.parse_key(text, options.key_form), options=options) as gateway:
        flags = variant_flags(options)
        outcome = await command(gateway.url, "status", "0a11socket02", "--json", *flags, key=text)
        assert [s["devid"] for s in outcome.must_exit(0).json()] == ["0a11socket02"]
        outcome = await command(gateway.url, "set", "0a11socket02", "switch_1=on", *flags, key=text)
        outcome.must_exit(0)
        assert gateway.asked("set_value")[0]["data"][0]["value"] == [{"k": "switch_1", "v": True}]
        assert {s.path for s in gateway.sessions} == {options.path}


@pytest.mark.parametrize("name", [n for n in VARIANTS if n not in ("another path", "a key in hexadecimal", "zero padding in base64")])
async def test_a_gateway_of_the_default_is_not_taken_for_the_variant(command, name):
    options, text = VARIANTS[name]
    flags = variant_flags(Options(padding=options.padding, key_form=options.key_form, proof=options.proof, proof_over=options.proof_over))
    async with Gateway(crypto.parse_key(text)) as gateway:
        (await command(gateway.url, "devices", *flags, key=text)).must_exit(4)
        assert gateway.requests == []


@pytest.mark.parametrize("pinned", ["binary", "base64", "plain"])
async def test_a_wire_encoding_can_be_pinned(command, key, options, pinned):
    async with Gateway(key, options=options) as gateway:
        outcome = await command(gateway.url, "devices", "--json", "--wire", pinned)
        if pinned == options.wire:
            outcome.must_exit(0)
        else:
            outcome.must_exit(3, 4)
            assert gateway.requests == []


async def test_the_zero_padding_keeps_a_text_that_fits(start_gateway):
    """A text of whole blocks gets no padding at all."""
    options = Options(padding="zero")
    gateway = start_gateway(None, options)
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        request = b'{"id":1234,"type":"get_devices"}'
        assert len(request) == 32
        await link.send_frame(crypto.encrypt_blocks(session, request))
        assert (await link.receive(session))["id"] == 1234
