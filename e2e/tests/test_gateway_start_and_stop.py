"""How the gateway starts, what it refuses to start with, what it keeps, and how it ends."""

import asyncio
import re
import signal
import stat
import time

import pytest

from harness.files import KEY_TEXT, write_key, write_profile, write_profiles
from harness.program import LISTENS
from reference import crypto, profiles
from reference.client import ConnectionClosed, connect, dial
from reference.crypto import Options


# Two seconds are the promise; the rest is for a busy machine.
END = 5


@pytest.fixture
def devices(tmp_path):
    return write_profiles(tmp_path / "devices", profiles.home())


@pytest.fixture
def serve(run, devices, key_file):
    """Runs a gateway that is expected not to start."""

    async def start(*arguments, key=("--key-file", key_file), served=devices, **more):
        return await run("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--state", "none", "--devices", served, *key, *arguments, patience=15, **more)

    return start


# What keeps it from starting

BROKEN = {
    "half a file": ('{"devid":"x",\n "category":\n', "line 3|:3\\b|line 2|:2\\b"),
    "a trailing comma": ('{"devid":"x",\n "category":"kg",\n}', "line 3|:3\\b"),
    "no object": ("[]", "."),
    "no devid": ('{"category":"kg","function":[],"status":[],"online":true,"value":[]}', "devid"),
    "values that are no array": ('{"devid":"x","category":"kg","function":[],"status":[],"online":true,"value":7}', "."),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_profile_ends_the_start_and_is_named(serve, devices, name):
    text, position = BROKEN[name]
    (devices / "broken-profile.json").write_text(text)
    outcome = (await serve()).must_exit(2).must_say("broken-profile.json")
    assert re.search(position, outcome.err.replace(str(devices), "")), outcome
    assert not LISTENS.search(outcome.err)


async def test_two_files_of_one_device_end_the_start_and_are_named(serve, devices):
    (devices / "twin.json").write_text((devices / "0a11lamp0001.json").read_text())
    (await serve()).must_exit(2).must_say("twin.json", "0a11lamp0001")


async def test_a_folder_that_is_not_there_ends_the_start(serve, tmp_path):
    (await serve(served=tmp_path / "nowhere")).must_exit(2).must_say("nowhere")


@pytest.mark.parametrize("bad", ["tooshort", "seventeen letters", "0123456789abcdef0123456789abcde", "g" * 32, "umlaut in a käy!", "a\ttab in the key"])
async def test_a_bad_key_ends_the_start_and_is_never_repeated(serve, tmp_path, bad):
    file = write_key(tmp_path / "bad.key", bad)
    for outcome in [
        await serve(key=("--key-file", file)),
        await serve(key=(), HEARTHGATE_KEY=bad),
        await serve(key=("--key-file", "-"), stdin=bad.encode()),
    ]:
        outcome.must_exit(2).must_say("16")
        assert bad not in outcome.err + outcome.out


async def test_only_one_line_ending_is_taken_from_a_key_file(serve, tmp_path):
    (await serve(key=("--key-file", write_key(tmp_path / "bad.key", KEY_TEXT, "\n\n")))).must_exit(2)


async def test_a_key_file_that_is_not_there_ends_the_start(serve, tmp_path):
    outcome = (await serve(key=("--key-file", tmp_path / "no.key"), HEARTHGATE_KEY=KEY_TEXT)).must_exit(2).must_say("no.key")
    assert KEY_TEXT not in outcome.err


@pytest.mark.parametrize("arguments", [["--wire", "morse"], ["--padding", "ansi"], ["--key-form", "x"], ["--proof", "x"], ["--proof-over", "x"], ["--listens", "x"], ["--advertise", "nowhere"], ["--uuid", "x" * 65], ["--uuid", ""], ["--uuid", "tab\there"]], ids=" ".join)
async def test_a_wrong_argument_ends_the_start(serve, arguments):
    (await serve(*arguments)).must_exit(2)


async def test_a_port_in_use_is_said(run, devices, key_file, gateway):
    address = f"{gateway.host}:{gateway.port}"
    outcome = await run("gateway", "--listen", address, "--no-advertise", "--state", "none", "--devices", devices, "--key-file", key_file)
    assert outcome.code not in (0, -6, 101), outcome
    outcome.must_say(address)


# What it starts with


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["nothing", "LF", "CRLF"])
@pytest.mark.parametrize("text", ["  key of blanks ", "0123456789abcdef", "'\"\\$`~!*?[]{}()|", "00112233445566778899aabbccddeeff"])
async def test_a_key_file_is_read_with_one_line_ending_removed(spawn, devices, tmp_path, text, ending):
    file = write_key(tmp_path / "any.key", text, ending)
    gateway = spawn("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--state", "none", "--devices", devices, "--key-file", file)
    host, port = gateway.wait_for_log(LISTENS).groups()
    async with connect(f"ws://{host}:{port}", crypto.parse_key(text)) as session:
        assert await session.request("get_devices")
    assert text not in gateway.log_text


async def test_the_key_may_come_from_standard_input_or_the_environment(spawn, devices):
    common = ("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--state", "none", "--devices", devices)
    for gateway in [
        spawn(*common, "--key-file", "-", stdin=f"{KEY_TEXT}\n".encode()),
        spawn(*common, HEARTHGATE_KEY=KEY_TEXT),
    ]:
        host, port = gateway.wait_for_log(LISTENS).groups()
        async with connect(f"ws://{host}:{port}", crypto.parse_key(KEY_TEXT)) as session:
            assert await session.request("get_devices")


async def test_a_gateway_without_a_key_makes_one_and_keeps_it(spawn, devices, environment, tmp_path):
    state = tmp_path / "home" / "state" / "hearthgate"
    common = ("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", devices)
    found = []
    for _ in range(2):
        gateway = spawn(*common)
        host, port = gateway.wait_for_log(LISTENS).groups()
        keys = {path: text for path in state.rglob("*") if path.is_file() and (text := key_in(path))}
        assert len(keys) == 1, keys
        ((path, text),) = keys.items()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert text not in gateway.log_text
        if not found:
            assert str(path) in gateway.log_text
        async with connect(f"ws://{host}:{port}", crypto.parse_key(text)) as session:
            assert await session.request("get_devices")
        found.append((path, text))
        gateway.stop()
    assert found[0] == found[1], "the key and the uuid are made once"


def key_in(path):
    try:
        text = crypto.key_text(path.read_bytes())
        crypto.parse_key(text)
        return text
    except crypto.BadKey:
        return None


async def test_a_state_folder_has_one_gateway_at_a_time(spawn, run, devices, key_file, tmp_path):
    arguments = ("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", devices, "--key-file", key_file, "--state", tmp_path / "kept", "--uuid", "the-one")
    first = spawn(*arguments)
    first.wait_for_log(LISTENS)
    second = await run(*arguments, patience=15)
    assert second.code not in (0, -6, 101), second
    assert second.err.strip()
    first.stop()
    spawn(*arguments).wait_for_log(LISTENS)


async def test_without_a_state_nothing_is_written(start_gateway, tmp_path):
    async with start_gateway(state="none").connect() as session:
        await session.set("0a11lamp0001", bright_value=20)
    assert list((tmp_path / "home").rglob("*")) == []


async def test_plain_on_other_addresses_must_be_asked_for_twice(run, devices, key_file):
    """Nobody offers clear text to a network by accident."""
    outcome = await run("gateway", "--listen", "0.0.0.0:0", "--no-advertise", "--state", "none", "--devices", devices, "--key-file", key_file, "--wire", "plain", patience=10)
    assert outcome.code not in (0, -6, 101), outcome
    outcome.must_say("plain")


async def test_an_empty_folder_is_an_empty_home(start_gateway):
    gateway = start_gateway([])
    async with gateway.connect() as session:
        assert await session.request("get_devices") == []
        write_profile(gateway.folder, profiles.SOCKET)
        await session.event("registry_updated", patience=15)
        assert await session.request("get_devices") == ["0a11socket02"]


# How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_signal_closes_every_session_and_ends_the_gateway(start_gateway, options, number):
    gateway = start_gateway(options=options)
    async with gateway.connect() as one, gateway.connect() as two, gateway.dial() as unknown:
        await one.request("get_devices")
        await unknown.challenge(gateway.key)
        begin = time.monotonic()
        gateway.process.signal(number)
        for session in (one, two):
            with pytest.raises(ConnectionClosed):
                await session.first(lambda m: False)
            assert session.link.socket.close_code == 1001
        code = await asyncio.to_thread(gateway.process.wait, 20)
        assert (code, time.monotonic() - begin < END) == (0, True), gateway.process.story()


async def test_a_session_that_does_not_hang_up_does_not_keep_the_gateway(start_gateway):
    gateway = start_gateway()
    async with dial(gateway.url, Options()) as link:
        await link.authenticate(gateway.key)
        link.socket.transport.pause_reading()
        gateway.process.signal(signal.SIGTERM)
        begin = time.monotonic()
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0
        assert time.monotonic() - begin < END
        link.socket.transport.abort()
