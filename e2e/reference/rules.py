"""What a request must look like, and what a write must be: section 5.

Decoded requests and device profiles come in; `Refused` carries the error of the answer.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import crypto
from .profiles import Profile

INTEGERS = range(-(2**63), 2**63)
NO_ID = 0


@dataclass
class Refused(Exception):
    code: str
    message: str
    details: list[dict[str, Any]] = field(default_factory=list)

    def as_error(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        return error | ({"details": self.details} if self.details else {})


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def id_of(request: dict[str, Any]) -> int:
    number = request.get("id")
    return number if is_integer(number) and number in INTEGERS else NO_ID


def check_request(request: dict[str, Any]) -> None:
    """The fields that every request has."""
    if not (is_integer(request.get("id")) and request["id"] in INTEGERS):
        raise Refused("invalid_request", "id is no integer")
    if not isinstance(request.get("type"), str):
        raise Refused("invalid_request", "type is no string")


def device_ids(request: dict[str, Any], home: dict[str, Profile]) -> list[str]:
    """The devices that `get_schema` and `get_status` ask for; one unknown device fails the request as a whole."""
    named = request.get("data")
    if not isinstance(named, list) or not all(isinstance(devid, str) for devid in named):
        raise Refused("invalid_request", "data is no array of device ids")
    unknown = [d for d in named if d not in home]
    if unknown:
        details = [{"devid": d, "code": "unknown_device", "message": f"no device {d}"} for d in unknown]
        raise Refused("unknown_device", f"no device {unknown[0]}", details)
    return named


@dataclass(frozen=True)
class Write:
    devid: str
    k: str
    v: Any


def writes(request: dict[str, Any]) -> list[tuple[str, list[Write]]]:
    """The items of a `set_value`, whose shape is checked; `devid` wins over `device`."""
    items = request.get("data")
    if not isinstance(items, list):
        raise Refused("invalid_request", "data is no array")
    checked = []
    for item in items:
        if not isinstance(item, dict):
            raise Refused("invalid_request", "an item of data is no object")
        devid = item.get("devid", item.get("device"))
        values = item.get("value")
        if not isinstance(devid, str) or not isinstance(values, list):
            raise Refused("invalid_request", "an item needs devid and an array value")
        if not all(isinstance(v, dict) and isinstance(v.get("k"), str) and "v" in v for v in values):
            raise Refused("invalid_request", "an item of value needs k and v")
        checked.append((devid, [Write(devid, v["k"], v["v"]) for v in values]))
    return checked


def check_writes(items: list[tuple[str, list[Write]]], home: dict[str, Profile]) -> None:
    """Checks all of a `set_value` before any of it is done: the first thing wrong leads, `details` lists all."""
    wrong = [found for devid, values in items for found in faults(devid, values, home)]
    if wrong:
        raise Refused(wrong[0]["code"], wrong[0]["message"], wrong)


def faults(devid: str, values: list[Write], home: dict[str, Profile]) -> Iterator[dict[str, Any]]:
    device = home.get(devid)
    if device is None:
        yield {"devid": devid, "code": "unknown_device", "message": f"no device {devid}"}
        return
    if not device["online"]:
        yield {"devid": devid, "code": "device_offline", "message": f"device {devid} is offline"}
        return
    for write in values:
        where = {"devid": devid, "k": write.k}
        declared = next((p for p in device["function"] if p["code"] == write.k), None)
        if declared is None:
            yield where | {"code": "unsupported_code", "message": f"device {devid} has no function {write.k}"}
            continue
        fault = value_fault(declared, write.v)
        if fault:
            yield where | {"code": "invalid_value", "message": f"{devid} {write.k}: {fault}"}


def value_fault(declared: dict[str, str], v: Any) -> str | None:
    """What is wrong with a value for a declared data point."""
    limits = parse_limits(declared["values"])
    match declared["type"]:
        case "Boolean":
            return None if isinstance(v, bool) else "a Boolean is true or false"
        case "Integer":
            return integer_fault(limits, v)
        case "Enum":
            if not isinstance(v, str):
                return "an Enum is a string"
            allowed = limits.get("range", [v])
            return None if v in allowed else f"not one of {', '.join(map(str, allowed))}"
        case "String":
            if not isinstance(v, str):
                return "a String is a string"
            return length_fault(limits, len(v.encode("utf-8")))
        case "Raw":
            try:
                return length_fault(limits, len(crypto.from_base64(v)))
            except (ValueError, AttributeError):
                return "Raw is a base64 string"
        case "Bitmap":
            bits = len(limits["label"]) if "label" in limits else as_integer(limits.get("maxlen"))
            if not is_integer(v) or v < 0:
                return "a Bitmap is an integer from 0"
            return f"more than {bits} bits" if bits is not None and v >= 2**bits else None
        case "Json" | "Object":
            return None if holds_json(v) else "an object, or a string that holds JSON"
    return None


def integer_fault(limits: dict[str, Any], v: Any) -> str | None:
    if not is_integer(v):
        return "an Integer is an integer"
    low, high = as_integer(limits.get("min")), as_integer(limits.get("max"))
    if low is not None and v < low:
        return f"less than {low}"
    return f"more than {high}" if high is not None and v > high else None


def length_fault(limits: dict[str, Any], length: int) -> str | None:
    most = as_integer(limits.get("maxlen"))
    return f"longer than {most} bytes" if most is not None and length > most else None


def holds_json(v: Any) -> bool:
    try:
        return isinstance(v, dict) or (isinstance(v, str) and json.loads(v) is not Ellipsis)
    except ValueError:
        return False


def parse_limits(values: str) -> dict[str, Any]:
    """`values` that do not parse limit nothing."""
    try:
        parsed = json.loads(values)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def as_integer(limit: Any) -> int | None:
    """Numbers may come as strings."""
    try:
        return None if isinstance(limit, bool | float) else int(limit)
    except (TypeError, ValueError):
        return None
