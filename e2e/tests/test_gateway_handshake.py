"""The gateway's handshake: who knows the key is let in, anybody else hears `authentication failed` and nothing more."""

import itertools
import json

import pytest

from harness.files import KEY_TEXT
from harness.program import ROOT
from reference import crypto, wire
from reference.crypto import Options

FAILED = (1008, "authentication failed")
VECTORS = json.loads((ROOT / "crates/protocol/tests/data/vectors.json").read_text(encoding="utf-8"))
WRONG = crypto.parse_key("0000000000000000")


async def test_a_right_key_is_let_in(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        assert "0a11lamp0001" in await session.request("get_devices")


async def test_the_challenge_has_the_shape_of_the_specification(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        frame = await link.socket.recv()
        assert wire.detect(frame) == options.wire
        challenge = wire.decode(wire.open_message(options, gateway.key, frame))
        assert challenge["type"] == "auth_required"
        assert len(crypto.from_base64(challenge["data"]["nonce"])) == 16


async def test_no_two_nonces_are_the_same(gateway):
    nonces = []
    for _ in range(8):
        async with gateway.dial() as link:
            nonces.append(await link.challenge(gateway.key))
    assert len(set(nonces)) == 8


async def test_sixteen_hexadecimal_digits_are_sixteen_characters(start_gateway):
    gateway = start_gateway(key_text="0123456789abcdef")
    assert gateway.key == b"0123456789abcdef"
    async with gateway.connect() as session:
        assert await session.request("get_devices")


async def test_a_key_of_32_hexadecimal_digits_works(start_gateway):
    gateway = start_gateway(key_text="00112233445566778899AABBccddeeff")
    assert gateway.key[:2] == b"\x00\x11"
    async with gateway.connect() as session:
        assert await session.request("get_devices")


async def test_the_order_and_the_white_space_of_auth_mean_nothing(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        nonce_s, nonce_c = await link.challenge(gateway.key), crypto.fresh_nonce()
        proof = crypto.proof(gateway.key, nonce_s)
        text = f'\n {{ "unknown": [1, {{}}], "data" :\t{{"hmac":"{proof}","more":null,"nonce":"{crypto.to_base64(nonce_c)}"}},"type":"auth"\r\n}} '
        await link.send(text.encode(), gateway.key)
        await link.confirmed(gateway.key, nonce_c)


# Wrong answers to the challenge. Each is a function of the key and the gateway's nonce and gives what is sent:
# a message (encrypted under the key), a text that is none, or a ciphertext.


class Ciphertext(bytes):
    """Goes out as it is, in the envelope of the wire encoding."""


def auth(nonce, proof):
    return {"type": "auth", "data": {"nonce": nonce, "hmac": proof}}


def b64(data):
    return crypto.to_base64(data)


def good(key, s):
    return auth(b64(crypto.fresh_nonce()), crypto.proof(key, s))


WRONG_ANSWERS = {
    "the proof of another key": lambda key, s: auth(b64(bytes(range(16))), crypto.proof(WRONG, s)),
    "the proof of another nonce": lambda key, s: auth(b64(bytes(range(16))), crypto.proof(key, bytes(16))),
    "a proof that lacks its last byte": lambda key, s: auth(b64(bytes(range(16))), b64(crypto.from_base64(crypto.proof(key, s))[:-1])),
    "an empty proof": lambda key, s: auth(b64(bytes(range(16))), ""),
    "a proof that is no string": lambda key, s: auth(b64(bytes(range(16))), 1),
    "no proof": lambda key, s: {"type": "auth", "data": {"nonce": b64(bytes(range(16)))}},
    "the gateway's own nonce": lambda key, s: auth(b64(s), crypto.proof(key, s)),
    "a nonce of 8 bytes": lambda key, s: auth(b64(bytes(range(8))), crypto.proof(key, s)),
    "a nonce of 15 bytes": lambda key, s: auth(b64(bytes(range(15))), crypto.proof(key, s)),
    "a nonce of 17 bytes": lambda key, s: auth(b64(bytes(range(17))), crypto.proof(key, s)),
    "an empty nonce": lambda key, s: auth("", crypto.proof(key, s)),
    "a nonce in bad base64": lambda key, s: auth("!" * 24, crypto.proof(key, s)),
    "a nonce without padding": lambda key, s: auth(b64(bytes(range(16))).rstrip("="), crypto.proof(key, s)),
    "a nonce that is no string": lambda key, s: auth([1], crypto.proof(key, s)),
    "no nonce": lambda key, s: {"type": "auth", "data": {"hmac": crypto.proof(key, s)}},
    "no data": lambda key, s: {"type": "auth"},
    "data that is an array": lambda key, s: {"type": "auth", "data": []},
    "a request instead": lambda key, s: {"id": 1, "type": "get_devices"},
    "another type": lambda key, s: good(key, s) | {"type": "auth_ok"},
    "a type that is no string": lambda key, s: good(key, s) | {"type": 1},
    "no type": lambda key, s: {"data": good(key, s)["data"]},
    "an array around it": lambda key, s: wire.encode([good(key, s)]),
    "no JSON": lambda key, s: b"open sesame",
    "a trailing comma": lambda key, s: wire.encode(good(key, s))[:-1] + b",}",
    "a byte order mark": lambda key, s: b"\xef\xbb\xbf" + wire.encode(good(key, s)),
    "65 levels": lambda key, s: wire.encode(good(key, s))[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
}
WRONG_CIPHERTEXTS = {
    "another key": lambda key, s: Ciphertext(crypto.encrypt(WRONG, wire.encode(good(key, s)))),
    "no byte at all": lambda key, s: Ciphertext(b""),
    "no whole block": lambda key, s: Ciphertext(crypto.encrypt(key, wire.encode(good(key, s)))[:-1]),
    "padding of 0": lambda key, s: Ciphertext(crypto.encrypt_blocks(key, b"{}" + bytes(14))),
    "padding of 17": lambda key, s: Ciphertext(crypto.encrypt_blocks(key, b"{}" + bytes([17]) * 14)),
    "padding that differs": lambda key, s: Ciphertext(crypto.encrypt_blocks(key, b"{}" + bytes([15]) + bytes([14]) * 13)),
    "no UTF-8": lambda key, s: Ciphertext(crypto.encrypt(key, b'{"type":"\xff\xfe"}')),
}


async def answers_wrongly(gateway, wrong):
    async with gateway.dial() as link:
        nonce_s = await link.challenge(gateway.key)
        answer = wrong(gateway.key, nonce_s)
        if isinstance(answer, Ciphertext):
            await link.send_frame(wire.envelope(link.options.wire, answer))
        else:
            await link.send(answer, gateway.key)
        close, said = await link.closed()
    assert said == [], "the gateway answered a failed handshake"
    assert (close.code, close.reason) == FAILED


async def is_fine(gateway):
    """A success in between also keeps the gateway from slowing us down."""
    async with gateway.connect() as session:
        assert await session.request("get_devices")


async def fails_each(gateway, cases):
    wrong_outcomes = []
    for name, wrong in cases.items():
        try:
            await answers_wrongly(gateway, wrong)
        except AssertionError as error:
            wrong_outcomes.append(f"{name}: {error}")
        await is_fine(gateway)
    assert not wrong_outcomes, "\n".join(wrong_outcomes)


async def test_a_wrong_answer_is_a_failed_handshake(start_gateway, options):
    await fails_each(start_gateway(options=options), WRONG_ANSWERS)


@pytest.mark.parametrize("encoding", ["binary", "base64"])
async def test_what_does_not_decrypt_is_a_failed_handshake(start_gateway, encoding):
    await fails_each(start_gateway(options=Options(wire=encoding)), WRONG_CIPHERTEXTS)


@pytest.mark.parametrize("encoding", ["binary", "base64"])
async def test_every_rejected_vector_is_a_failed_handshake(start_gateway, encoding):
    gateway = start_gateway(options=Options(wire=encoding), key_text=VECTORS["device_key"])
    frames = {v["name"]: Ciphertext.fromhex(v["ciphertext_hex"]) for v in VECTORS["reject"]}
    await fails_each(gateway, {name: lambda *_, frame=frame: frame for name, frame in frames.items()})


async def test_a_replayed_auth_is_a_failed_handshake(gateway):
    async with gateway.dial() as link:
        recorded = link.answer(gateway.key, await link.challenge(gateway.key), crypto.fresh_nonce())
    await answers_wrongly(gateway, lambda key, s: recorded)


async def test_a_frame_of_the_other_kind_is_a_failed_handshake(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        answer = wire.encode(link.answer(gateway.key, await link.challenge(gateway.key), crypto.fresh_nonce()))
        ciphertext = crypto.encrypt(gateway.key, answer)
        await link.send_frame(crypto.to_base64(ciphertext) if options.wire == "binary" else ciphertext)
        close, said = await link.closed()
        assert (close.code, close.reason, said) == (*FAILED, [])


@pytest.mark.parametrize("text", ["", "AAA", "not base64 at all", " AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAA_AAAAAAAAAA==\n"])
async def test_bad_base64_is_a_failed_handshake(start_gateway, text):
    gateway = start_gateway(options=Options(wire="base64"))
    async with gateway.dial() as link:
        await link.challenge(gateway.key)
        await link.send_frame(text)
        close, said = await link.closed()
        assert (close.code, close.reason, said) == (*FAILED, [])


async def test_a_request_before_auth_is_not_answered(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        await link.challenge(gateway.key)
        await link.send({"id": 1, "type": "get_devices"}, gateway.key)
        close, said = await link.closed()
        assert (close.code, close.reason, said) == (*FAILED, [])


async def test_requests_behind_auth_are_handled_after_auth_ok(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        early = [{"id": 7, "type": "get_status", "data": []}, {"id": 8, "type": "get_devices"}]
        session = await link.authenticate(gateway.key, behind=early)
        answers = {(m := await link.receive(session))["id"]: m for _ in early}
        assert answers[7] == {"id": 7, "type": "result", "success": True, "result": []}
        assert answers[8]["success"] is True


async def test_the_device_key_is_of_no_use_after_auth(start_gateway):
    gateway = start_gateway()
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        await link.send_frame(that_does_not_decrypt(session, gateway.key))
        close, said = await link.closed()
        assert (close.code, said) == (1008, [])


def that_does_not_decrypt(key, other_key):
    """A request under another key. One in 256 happens to end like proper padding, and is passed over."""
    for id in itertools.count():
        frame = crypto.encrypt(other_key, wire.encode({"id": id, "type": "get_devices"}))
        try:
            crypto.decrypt(key, frame)
        except crypto.DoesNotDecrypt:
            return frame


async def test_the_key_never_shows_in_the_log(start_gateway):
    gateway = start_gateway()
    await fails_each(gateway, dict(list(WRONG_ANSWERS.items())[:4]))
    assert KEY_TEXT not in gateway.process.log_text
    assert gateway.key.hex() not in gateway.process.log_text.lower()
