"""The reference implementation reproduces the published vectors, byte for byte, and refuses what they refuse."""

import json

import pytest

from harness.program import ROOT
from reference import crypto, wire
from reference.client import Link
from reference.crypto import Options
from reference.gateway import Gateway

VECTORS = ROOT / "crates/protocol/tests/data/vectors.json"
V = json.loads(VECTORS.read_text(encoding="utf-8"))
MESSAGES = V["handshake"] + V["session"]


def named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def key_for(name: str) -> bytes:
    return crypto.parse_key(V["device_key"]) if name == "device_key" else bytes.fromhex(V["session_key_hex"])


def test_the_session_key_is_the_xor_of_the_nonces():
    nonce_s, nonce_c = (crypto.from_base64(V[f"nonce_{side}_base64"]) for side in "sc")
    assert crypto.session_key(nonce_s, nonce_c).hex() == V["session_key_hex"]


@pytest.mark.parametrize("side", ["s", "c"])
def test_the_proof_is_the_hmac_of_the_nonce(side):
    nonce = crypto.from_base64(V[f"nonce_{side}_base64"])
    assert crypto.proof(crypto.parse_key(V["device_key"]), nonce) == V[f"hmac_of_nonce_{side}_base64"]


def test_32_hexadecimal_digits_are_16_bytes():
    key = crypto.parse_key(V["hexadecimal_key"]["device_key"])
    nonce = crypto.from_base64(V["nonce_s_base64"])
    assert crypto.proof(key, nonce) == V["hexadecimal_key"]["hmac_of_nonce_s_base64"]


@pytest.mark.parametrize("case", named(MESSAGES))
def test_a_message_becomes_the_ciphertext_of_the_vector(case):
    key, text = key_for(case["key"]), case["plaintext"].encode("utf-8")
    assert wire.seal(Options(wire="binary"), key, text).hex() == case["ciphertext_hex"]
    assert wire.seal(Options(wire="base64"), key, text) == case["ciphertext_base64"]
    assert wire.seal(Options(wire="plain"), key, text) == case["plaintext"]


@pytest.mark.parametrize("case", named(MESSAGES))
def test_the_ciphertext_of_the_vector_becomes_the_message(case):
    key, text = key_for(case["key"]), case["plaintext"].encode("utf-8")
    assert wire.open_message(Options(wire="binary"), key, bytes.fromhex(case["ciphertext_hex"])) == text
    assert wire.open_message(Options(wire="base64"), key, case["ciphertext_base64"]) == text
    assert wire.encode(wire.decode(text)) == text


def test_the_handshake_of_the_vectors_is_the_one_that_the_reference_would_have_sent():
    key = crypto.parse_key(V["device_key"])
    nonce_s, nonce_c = (crypto.from_base64(V[f"nonce_{side}_base64"]) for side in "sc")
    answer = Link(None, Options()).answer(key, nonce_s, nonce_c)
    assert wire.encode(answer).decode() == V["handshake"][1]["plaintext"]


@pytest.mark.parametrize("case", named(V["reject"]))
def test_the_reference_gateway_refuses_what_the_vectors_refuse(case):
    gateway = Gateway(crypto.parse_key(V["device_key"]))
    with pytest.raises((crypto.DoesNotDecrypt, wire.NoObject, ValueError)):
        gateway.nonce_of(bytes.fromhex(case["ciphertext_hex"]), crypto.from_base64(V["nonce_s_base64"]))


def test_the_reference_gateway_takes_the_auth_of_the_vectors():
    gateway = Gateway(crypto.parse_key(V["device_key"]))
    frame = bytes.fromhex(V["handshake"][1]["ciphertext_hex"])
    nonce_c = gateway.nonce_of(frame, crypto.from_base64(V["nonce_s_base64"]))
    assert crypto.to_base64(nonce_c) == V["nonce_c_base64"]
