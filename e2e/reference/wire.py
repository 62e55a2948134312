"""JSON as the protocol wants it, and the three wire encodings: section 3.

`seal` makes a WebSocket message (bytes: binary, str: text) of a JSON text, `open_message` undoes it.
"""

import json
from typing import Any

from . import crypto

WIRES = ("binary", "base64", "plain")
NESTING_LIMIT = 64
HANDSHAKE_LIMIT = 4 * 1024
GATEWAY_LIMIT = 1024 * 1024
CLIENT_LIMIT = 64 * 1024 * 1024

Message = bytes | str


class NoObject(Exception):
    """Bytes that are no UTF-8, or a text that is no JSON object by the strict rules."""


def encode(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def decode(text: bytes) -> dict[str, Any]:
    """Parses one JSON object: RFC 8259, UTF-8 without a byte order mark, at most 64 levels deep."""
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoObject(f"no UTF-8: {error.reason}") from None
    if nesting(characters) > NESTING_LIMIT:
        raise NoObject(f"nested deeper than {NESTING_LIMIT}")
    try:
        parsed = json.loads(characters, parse_constant=refuse_constant)
    except ValueError as error:
        raise NoObject(f"no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise NoObject("JSON, but no object")
    return parsed


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def nesting(text: str) -> int:
    """How many arrays and objects lie in one another, at most."""
    depth = deepest = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def seal(options: crypto.Options, key: bytes, text: bytes) -> Message:
    if options.wire == "plain":
        return text.decode("utf-8")
    return envelope(options.wire, crypto.encrypt(key, text, options.padding))


def envelope(wire: str, ciphertext: bytes) -> Message:
    """How a ciphertext travels."""
    return ciphertext if wire == "binary" else crypto.to_base64(ciphertext)


def open_message(options: crypto.Options, key: bytes, message: Message) -> bytes:
    if isinstance(message, bytes) != (options.wire == "binary"):
        kind = "a binary" if isinstance(message, bytes) else "a text"
        raise crypto.DoesNotDecrypt(f"{kind} message where {options.wire} is spoken")
    if options.wire == "plain":
        return message.encode("utf-8")
    if options.wire == "base64":
        try:
            message = crypto.from_base64(message)
        except ValueError as error:
            raise crypto.DoesNotDecrypt(str(error)) from None
    return crypto.decrypt(key, message, options.padding)


def detect(first: Message) -> str:
    """The wire encoding of a gateway, by its first message."""
    if isinstance(first, bytes):
        return "binary"
    return "plain" if first.lstrip(" \t\r\n").startswith("{") else "base64"


class Literal(str):
    """A number as it was written: `1.50` is not `1.5`."""


class Ordered(tuple):
    """The members of an object in the order in which they were written."""


def verbatim(text: str | bytes) -> Any:
    """Parses JSON so that two results are equal only if the texts differ in nothing but white space and the spelling of strings."""
    return json.loads(
        text, parse_int=lambda t: Literal(f"n{t}"), parse_float=lambda t: Literal(f"n{t}"), object_pairs_hook=Ordered
    )


def member(ordered: Ordered, name: str) -> Any:
    """One member of an object that `verbatim` has parsed."""
    found = [value for key, value in ordered if key == name]
    if len(found) != 1:
        raise KeyError(name)
    return found[0]
