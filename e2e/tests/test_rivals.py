"""The gateways that the benchmark compares with speak the protocol: a comparison with one that does not would prove nothing."""

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.files import KEY_TEXT, write_profiles
from harness.program import ROOT, Running, eventually
from reference import client, crypto, profiles

LAMP, SOCKET, ODD, SIREN = "0a11lamp0001", "0a11socket02", "7c20odd00004", "e5siren00005"
LISTENS = re.compile(r"listening (127\.0\.0\.1:\d+)")
PYTHON = ["target/rivals/python/bin/python", "crates/bench/rivals/python/server.py"]
RIVALS = {"node": ["node", "target/rivals/node/server.js"], "python": PYTHON, "uvloop": [*PYTHON, "--loop", "uvloop"]}
REFUSED = [
    ({"id": 1, "type": "get_status", "data": [LAMP, "nobody"]}, 1, "unknown_device"),
    ({"id": 2, "type": "get_schema", "data": "all"}, 2, "invalid_request"),
    ({"id": 3, "type": "get_status", "data": [7]}, 3, "invalid_request"),
    ({"id": 4, "type": "dance"}, 4, "unknown_type"),
    ({"id": 5, "type": 6}, 5, "invalid_request"),
    ({"id": "6", "type": "get_devices"}, 0, "invalid_request"),
    ({"id": True, "type": "get_devices"}, 0, "invalid_request"),
    (b"[1]", 0, "invalid_request"),
    (b"{", 0, "invalid_request"),
    (b"\xff", 0, "invalid_request"),
    ({"id": 7, "type": "set_value", "data": [{"devid": SOCKET}]}, 7, "invalid_request"),
    ({"id": 8, "type": "set_value", "data": [{"devid": SIREN, "value": [{"k": "alarm", "v": True}]}]}, 8, "device_offline"),
    ({"id": 9, "type": "set_value", "data": [{"devid": SOCKET, "value": [{"k": "siren", "v": True}]}]}, 9, "unsupported_code"),
]
WRONG = [
    ("switch_led", 1), ("bright_value", 9), ("bright_value", 1001), ("bright_value", 10.5), ("bright_value", True), ("work_mode", "loud"),
    ("work_mode", 1), ("colour_data", "{"), ("scene_name", "℃℃℃"), ("scene_raw", "AQIDBAU="), ("scene_raw", "A"), ("segments", 8), ("zones", -1),
]  # fmt: skip
RIGHT = [
    ("switch_led", False), ("bright_value", 10), ("work_mode", "scene"), ("colour_data", {"h": 1}), ("colour_data", "{}"), ("scene_name", "℃℃"),
    ("scene_raw", "AQIDBA=="), ("segments", 7), ("zones", 31),
]  # fmt: skip




@pytest.fixture(scope="session")
def installed() -> None:
    subprocess.run(["make", "--silent", "bench-rivals"], cwd=ROOT, check=True, timeout=600)


@pytest.fixture(params=RIVALS)
def rival(request: pytest.FixtureRequest, installed: None, environment: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Starts one of the rivals, whose standard input stays open until the test closes it."""
    started: list[Running] = []

    def start(*arguments: str | Path) -> Running:
        argv = [*RIVALS[request.param], *map(str, arguments)]
        started.append(Running(argv, environment | {"HEARTHGATE_KEY": KEY_TEXT}, stdin=b"", hold_stdin=True, cwd=ROOT))
        return started[-1]

    yield start
    for process in started:
        process.process.stdin.close()
        process.stop()


async def url_of(rival: Running) -> str:
    found = await eventually(lambda: LISTENS.search("\n".join(rival.output)), f"a port of {rival.argv}", 30)
    return f"ws://{found[1]}"


async def test_requests_and_their_faults(rival, tmp_path, key):
    url = await url_of(rival("--profiles", write_profiles(tmp_path / "devices", profiles.home())))
    async with client.connect(url, key) as session:
        by_id = {device["devid"]: device for device in profiles.home()}
        assert sorted(await session.request("get_devices")) == sorted(by_id)
        named = [SIREN, LAMP, "e5untidy0006", SIREN]
        assert await session.request("get_schema", named) == [profiles.schema_of(by_id[devid]) for devid in named]
        assert await session.request("get_status", named) == [profiles.status_of(by_id[devid]) for devid in named]
        assert await session.request("get_status", []) == []
        for message, id, code in REFUSED:
            after = len(session.messages)
            await session.send(message)
            answer = await session.response(id, after=after)
            assert answer["success"] is False and answer["error"]["code"] == code and answer["error"]["message"], (message, answer)


async def test_writes_reach_every_session_in_order_or_not_at_all(rival, tmp_path, key):
    url = await url_of(rival("--profiles", write_profiles(tmp_path / "devices", profiles.home())))
    async with client.connect(url, key) as writer, client.connect(url, key) as witness:
        for k, v in WRONG:
            answer = await writer.set(LAMP, bright_value=77, **{k: v}) if k != "bright_value" else await writer.set(LAMP, **{k: v})
            assert answer["error"]["code"] == "invalid_value" and answer["error"]["details"] == [
                {"devid": LAMP, "k": k, "code": "invalid_value", "message": answer["error"]["message"]}
            ], (k, v, answer)
        for k, v in RIGHT:
            assert (await writer.set(LAMP, **{k: v}))["success"] is True, (k, v)
            assert profiles.values_of(await witness.status(LAMP))[k] == v
        assert (await writer.set(ODD, identify=True))["success"] is True  # which is never reported
        # Many at once, so that they travel as batches.
        for number in range(200):
            await writer.send({"id": 1000 + number, "type": "set_value", "data": [{"device": SOCKET, "value": [{"k": "countdown_1", "v": number}]}]})
        for session in (writer, witness):
            await session.first(lambda m: m.get("data") == {"devid": SOCKET, "value": [{"k": "countdown_1", "v": 199}]})
            told = [(e["data"]["devid"], e["data"]["value"]) for e in session.events()]
            lamp = [(LAMP, [{"k": k, "v": v}]) for k, v in RIGHT]
            assert told == lamp + [(SOCKET, [{"k": "countdown_1", "v": number}]) for number in range(200)]
            assert [e["id"] for e in session.events()] == list(range(1, len(told) + 1))
        await writer.response(1199)


async def test_a_wrong_handshake_is_refused_without_a_word(rival, key):
    url = await url_of(rival("--devices", "1"))
    async with client.dial(url) as link:
        nonce = await link.challenge(key)
        await link.send(link.answer(bytes(16), nonce, crypto.fresh_nonce()), key)
        closed, said = await link.closed()
        assert (closed.code, closed.reason, said) == (1008, "authentication failed", [])
    async with client.dial(url) as link:
        nonce = await link.challenge(key)
        await link.send(link.answer(key, nonce, nonce), key)
        assert (await link.closed())[0].code == 1008
    async with client.connect(url, key) as session:
        await session.link.send_frame(b"no whole block")
        assert (await session.link.closed())[0].code == 1008


async def test_the_program_understands_it(rival, command, spawn, key_file):
    url = await url_of(rival("--devices", "3", "--prefix", "plug-"))
    assert [d["devid"] for d in (await command(url, "devices", "--json")).must_exit(0).json()] == ["plug-000000", "plug-000001", "plug-000002"]
    watching = spawn("watch", "--json", "--gateway", url, "--key-file", key_file)
    while not watching.output:
        (await command(url, "set", "plug-000001", "switch_1=on", "countdown_1=5")).must_exit(0)
    assert json.loads(watching.output[0])["data"]["devid"] == "plug-000001"
    status = (await command(url, "status", "plug-000001", "--json")).must_exit(0).json()
    assert profiles.values_of(status[0]) == {"switch_1": True, "countdown_1": 5, "cur_power": 0, "cur_voltage": 2300}
    assert (await command(url, "schema", "plug-000002", "--json")).must_exit(0).json()[0]["category"] == "cz"
    (await command(url, "devices", key="another key here")).must_exit(4)


async def test_it_ends_with_who_started_it_or_when_told(rival, key):
    orphan = rival("--devices", "1")
    async with client.connect(await url_of(orphan), key) as session:
        orphan.process.stdin.close()
        assert (await session.link.closed())[0].code == 1001
    assert await asyncio.to_thread(orphan.wait, 10) == 0
    told = rival("--devices", "1")
    async with client.connect(await url_of(told), key) as session:
        told.process.terminate()
        assert (await session.link.closed())[0].code == 1001
    assert await asyncio.to_thread(told.wait, 10) == 0
