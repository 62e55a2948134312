"""The devices: read from profiles or made, asked and written. Requests come in, results and events go out; no socket is known here."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

Check = Callable[[Any], str | None]


class Refused(Exception):
    """Why a request is refused: the `error` of its answer."""

    def __init__(self, code: str, message: str, details: list[dict[str, Any]] | None = None):
        super().__init__(code)
        self.error = {"code": code, "message": message} | ({"details": details} if details else {})


def read_profiles(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


def make_profiles(count: int, prefix: str) -> list[dict[str, Any]]:
    """Makes plugs of one shape: `bench-000000` and so on."""
    written = [
        {"code": "switch_1", "type": "Boolean", "values": "{}"},
        {"code": "countdown_1", "type": "Integer", "values": '{"unit":"s","min":0,"max":86400,"scale":0,"step":1}'},
    ]
    status = [
        *written,
        {"code": "cur_power", "type": "Integer", "values": '{"unit":"W","min":0,"max":50000,"scale":1,"step":1}'},
        {"code": "cur_voltage", "type": "Integer", "values": '{"unit":"V","min":0,"max":5000,"scale":1,"step":1}'},
    ]
    values = {"switch_1": False, "countdown_1": 0, "cur_power": 0, "cur_voltage": 2300}
    return [
        {
            "devid": f"{prefix}{number:06}", "category": "cz", "function": written, "status": status, "online": True,
            "value": [{"k": k, "v": v} for k, v in values.items()],
        }
        for number in range(count)
    ]  # fmt: skip


class Device:
    __slots__ = ("schema", "status", "functions", "values", "reported")

    def __init__(self, profile: dict[str, Any]):
        self.schema = {name: profile[name] for name in ("devid", "category", "function", "status")}
        self.status = {"devid": profile["devid"], "online": profile["online"], "value": [dict(one) for one in profile["value"]]}
        self.functions = {point["code"]: check_of(point) for point in profile["function"]}
        self.values = {one["k"]: one for one in self.status["value"]}
        self.reported = {point["code"] for point in profile["status"]}

    def write(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the new values of the data points that are reported; the last write of a code wins."""
        written = {one["k"]: one["v"] for one in value if one["k"] in self.reported}
        for k, v in written.items():
            if k in self.values:
                self.values[k]["v"] = v
            else:
                self.values[k] = {"k": k, "v": v}
                self.status["value"].append(self.values[k])
        return [{"k": k, "v": v} for k, v in written.items()]


class Home:
    def __init__(self, profiles: list[dict[str, Any]]):
        self.devices = {profile["devid"]: Device(profile) for profile in profiles}

    def devids(self) -> list[str]:
        return list(self.devices)

    def schemas(self, data: Any) -> list[dict[str, Any]]:
        return [device.schema for device in self._named(data)]

    def statuses(self, data: Any) -> list[dict[str, Any]]:
        return [device.status for device in self._named(data)]

    def _named(self, data: Any) -> list[Device]:
        if not isinstance(data, list):
            raise Refused("invalid_request", "data is no array of device ids")
        devices = self.devices
        try:
            return [devices[devid] for devid in data]
        except (KeyError, TypeError):  # no such device, or nothing that could be one
            pass
        if not all(isinstance(devid, str) for devid in data):
            raise Refused("invalid_request", "data is no array of device ids")
        details = [{"devid": d, "code": "unknown_device", "message": f"no device {d}"} for d in data if d not in devices]
        raise Refused("unknown_device", details[0]["message"], details)

    def write(self, data: Any) -> list[dict[str, Any]]:
        """Checks all of a `set_value`, does it, and returns what there is to report, one item per device and item of the request."""
        if not isinstance(data, list):
            raise Refused("invalid_request", "data is no array")
        items = [shape_of(item) for item in data]
        wrong = [fault for devid, value in items for fault in self._faults(devid, value)]
        if wrong:
            raise Refused(wrong[0]["code"], wrong[0]["message"], wrong)
        written = [(devid, self.devices[devid].write(value)) for devid, value in items]
        return [{"devid": devid, "value": value} for devid, value in written if value]

    def _faults(self, devid: str, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        device = self.devices.get(devid)
        if device is None:
            return [{"devid": devid, "code": "unknown_device", "message": f"no device {devid}"}]
        if not device.status["online"]:
            return [{"devid": devid, "code": "device_offline", "message": f"device {devid} is offline"}]
        faults = []
        for one in value:
            k = one["k"]
            check = device.functions.get(k)
            if check is None:
                faults.append({"devid": devid, "k": k, "code": "unsupported_code", "message": f"device {devid} has no function {k}"})
            elif what := check(one["v"]):
                faults.append({"devid": devid, "k": k, "code": "invalid_value", "message": f"{devid} {k}: {what}"})
        return faults


def shape_of(item: Any) -> tuple[str, list[dict[str, Any]]]:
    if not isinstance(item, dict):
        raise Refused("invalid_request", "an item of data is no object")
    devid, value = item.get("devid", item.get("device")), item.get("value")
    if not isinstance(devid, str) or not isinstance(value, list):
        raise Refused("invalid_request", "an item of data needs devid and an array value")
    for one in value:
        if not isinstance(one, dict) or not isinstance(one.get("k"), str) or "v" not in one:
            raise Refused("invalid_request", "an item of value needs k and v")
    return devid, value


def check_of(point: dict[str, str]) -> Check:
    """Makes the check of a function: what is wrong with a value, or None. The schema is parsed once, here."""
    limits = parse_limits(point["values"])
    match point["type"]:
        case "Boolean":
            return lambda v: None if isinstance(v, bool) else "a Boolean is true or false"
        case "Integer":
            return check_of_integer(integer_of(limits.get("min")), integer_of(limits.get("max")))
        case "Enum":
            return check_of_enum(limits.get("range"))
        case "String":
            return check_of_string(integer_of(limits.get("maxlen")))
        case "Raw":
            return check_of_raw(integer_of(limits.get("maxlen")))
        case "Bitmap":
            label = limits.get("label")
            return check_of_bitmap(len(label) if isinstance(label, list) else integer_of(limits.get("maxlen")))
        case "Json" | "Object":
            return lambda v: None if holds_json(v) else "an object, or a string that holds JSON"
    return lambda _: None


def check_of_integer(low: int | None, high: int | None) -> Check:
    def check(v: Any) -> str | None:
        if not is_integer(v):
            return "an Integer is an integer"
        if low is not None and v < low:
            return f"less than {low}"
        return f"more than {high}" if high is not None and v > high else None

    return check


def check_of_enum(allowed: list[str] | None) -> Check:
    def check(v: Any) -> str | None:
        if not isinstance(v, str):
            return "an Enum is a string"
        return None if allowed is None or v in allowed else f"not one of {', '.join(map(str, allowed))}"

    return check


def check_of_string(most: int | None) -> Check:
    def check(v: Any) -> str | None:
        if not isinstance(v, str):
            return "a String is a string"
        return f"longer than {most} bytes" if most is not None and len(v.encode()) > most else None

    return check


def check_of_raw(most: int | None) -> Check:
    def check(v: Any) -> str | None:
        try:
            length = len(base64.b64decode(v.encode("ascii"), validate=True))
        except (AttributeError, binascii.Error, UnicodeEncodeError):
            return "Raw is a base64 string"
        return f"longer than {most} bytes" if most is not None and length > most else None

    return check


def check_of_bitmap(bits: int | None) -> Check:
    def check(v: Any) -> str | None:
        if not is_integer(v) or v < 0:
            return "a Bitmap is an integer from 0"
        return f"more than {bits} bits" if bits is not None and v >= 1 << bits else None

    return check


def is_integer(v: Any) -> bool:
    return type(v) is int


def holds_json(v: Any) -> bool:
    if isinstance(v, str):
        try:
            orjson.loads(v)
        except ValueError:
            return False
        return True
    return isinstance(v, dict)


def parse_limits(values: str) -> dict[str, Any]:
    """`values` that do not parse limit nothing."""
    try:
        parsed = orjson.loads(values)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def integer_of(limit: Any) -> int | None:
    """Numbers may come as strings."""
    try:
        return None if isinstance(limit, bool | float) else int(limit)
    except (TypeError, ValueError):
        return None
