"""Keys, nonces, proofs and the cipher: sections 2, 4 and 10.

Texts and nonces come in, bytes go out; nothing here knows a socket or a message.
"""

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
NONCE_LENGTH = 16
KEY_FORMS = ("ascii", "hex", "md5")


class BadKey(Exception):
    """A key text of the wrong form. Never says what the text was."""


class DoesNotDecrypt(Exception):
    """A frame that is no ciphertext of ours."""


@dataclass(frozen=True)
class Options:
    """The wire encoding and the variants of section 10, defaults first."""

    wire: str = "binary"
    padding: str = "pkcs7"
    key_form: str = "ascii"
    proof: str = "hmac"
    proof_over: str = "raw"
    path: str = "/"


def key_text(data: bytes) -> str:
    """What a key file holds: one final LF or CRLF is removed and nothing else."""
    for ending in (b"\r\n", b"\n"):
        if data.endswith(ending):
            data = data[: -len(ending)]
            break
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise BadKey("expected 16 printable ASCII characters or 32 hexadecimal digits") from None


def parse_key(text: str, form: str = "ascii") -> bytes:
    """The 16 bytes that a device key's text stands for."""
    characters = len(text) == 16 and all(0x20 <= ord(c) <= 0x7E for c in text)
    digits = len(text) == 32 and all(c in "0123456789abcdefABCDEF" for c in text)
    if form == "md5" and (characters or digits):
        return hashlib.md5(text.encode("ascii")).digest()
    if form == "ascii" and characters:
        return text.encode("ascii")
    if form in ("ascii", "hex") and digits:
        return bytes.fromhex(text)
    raise BadKey("expected 16 printable ASCII characters or 32 hexadecimal digits")


def fresh_nonce() -> bytes:
    return os.urandom(NONCE_LENGTH)


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Standard base64, padded, no white space, one spelling only."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"bad base64: {error}") from None
    if to_base64(data) != text:
        raise ValueError("bad base64: not the canonical spelling")
    return data


def session_key(nonce_s: bytes, nonce_c: bytes) -> bytes:
    return bytes(s ^ c for s, c in zip(nonce_s, nonce_c, strict=True))


def proof(key: bytes, nonce: bytes, options: Options = Options()) -> str:
    """The field `hmac` of a message: what proves that the sender has the key."""
    signed = to_base64(nonce).encode("ascii") if options.proof_over == "base64" else nonce
    if options.proof == "sha256":
        return to_base64(hashlib.sha256(signed).digest())
    return to_base64(hmac.new(key, signed, hashlib.sha256).digest())


def proof_is_right(key: bytes, nonce: bytes, claimed: object, options: Options = Options()) -> bool:
    expected = proof(key, nonce, options).encode("ascii")
    return isinstance(claimed, str) and hmac.compare_digest(expected, claimed.encode("utf-8", "replace"))


def encrypt(key: bytes, plaintext: bytes, padding: str = "pkcs7") -> bytes:
    missing = BLOCK - len(plaintext) % BLOCK
    if padding == "pkcs7":
        plaintext += bytes([missing]) * missing
    elif missing != BLOCK:
        plaintext += bytes(missing)
    return encrypt_blocks(key, plaintext)


def encrypt_blocks(key: bytes, blocks: bytes) -> bytes:
    """AES-128-ECB of whole blocks, with no padding of its own."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def decrypt(key: bytes, ciphertext: bytes, padding: str = "pkcs7") -> bytes:
    if not ciphertext or len(ciphertext) % BLOCK:
        raise DoesNotDecrypt(f"{len(ciphertext)} bytes are no whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    if padding == "zero":
        return without_zeros(padded)
    count = padded[-1]
    if not 1 <= count <= BLOCK:
        raise DoesNotDecrypt(f"a padding byte of {count}")
    if padded[-count:] != bytes([count]) * count:
        raise DoesNotDecrypt("padding bytes differ")
    return padded[:-count]


def without_zeros(padded: bytes) -> bytes:
    """Zero padding is up to 15 zero bytes, none where the text fits."""
    kept = padded.rstrip(b"\0")
    return kept if len(padded) - len(kept) < BLOCK else padded[: 1 - BLOCK]
