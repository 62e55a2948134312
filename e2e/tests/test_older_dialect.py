"""The older dialect of before 2024 (section 8): tokens, sessions, what is refused, and what is never said."""

import asyncio
import json
import time

import pytest
from websockets.exceptions import InvalidStatus

from harness.program import eventually
from reference import older, tls
from reference.client import Options
from reference.older import PATH, OlderGateway, Tokens

KEY = "an OPENAPI_KEY: any text"
FLAGS = ("--dialect", "2023")


@pytest.fixture
def own(tmp_path):
    return tls.self_signed(tmp_path)


@pytest.fixture
def served(own):
    """A reference gateway of 2023, and the flags with which our commands talk to it."""

    def make(**more):
        return OlderGateway(Tokens(KEY, **more), own.server())

    return make


def flags(gateway, own):
    return (*FLAGS, "--tls-fingerprint", own.fingerprint, "--token-port", str(gateway.port))


def silent_about(text, *secrets):
    for secret in secrets:
        assert secret not in text, f"{secret!r} is in {text!r}"


@pytest.fixture
def our_gateway(start_gateway, own):
    """Our gateway of 2023."""

    def start(*more):
        certificate = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
        return start_gateway(None, Options(), *FLAGS, *certificate, *more, key_text=KEY)

    return start


# Our commands against the reference


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
async def test_our_commands_speak_it(command, served, own, wrapped):
    async with served(wrapped=wrapped) as gateway:
        outcome = await command(gateway.url, "devices", "--json", *flags(gateway, own), key=KEY)
        assert sorted(d["devid"] for d in outcome.must_exit(0).json()) == sorted(gateway.home)
        outcome = await command(gateway.url, "set", "0a11socket02", "switch_1=on", *flags(gateway, own), key=KEY)
        outcome.must_exit(0)
        assert gateway.asked("set_value")[0]["data"][0]["value"] == [{"k": "switch_1", "v": True}]
        assert [path for path, _ in gateway.tokens.asked] == [PATH, PATH]
        # Text messages, and no handshake.
        assert all(isinstance(frame, str) for session in gateway.sessions for frame in session.frames)
        assert {request["type"] for request in gateway.requests} <= {"get_devices", "get_schema", "get_status", "set_value"}


async def test_a_wrong_key_is_a_failed_authentication_and_never_repeated(command, served, own):
    wrong = "a wrong OPENAPI_KEY"
    async with served() as gateway:
        outcome = await command(gateway.url, "devices", *flags(gateway, own), "--log-level", "trace", key=wrong)
        outcome.must_exit(4).must_say("OPENAPI_KEY")
        silent_about(outcome.err + outcome.out, wrong)
        assert gateway.sessions == []


async def test_nothing_is_sent_to_whoever_shows_another_certificate(command, served, own):
    async with served() as gateway:
        wrong = (*FLAGS, "--token-port", str(gateway.port), "--tls-fingerprint", ":".join(["AB"] * 32))
        (await command(gateway.url, "devices", *wrong, key=KEY)).must_exit(4).must_say(own.fingerprint)
        (await command(gateway.url, "devices", *wrong[:4], key=KEY)).must_exit(4).must_say(own.fingerprint)
        (await command(gateway.url.replace("wss", "ws"), "devices", *wrong, key=KEY)).must_exit(2).must_say("wss://")
        assert gateway.tokens.asked == []


async def test_the_token_endpoint_is_on_port_443_unless_told_otherwise(command, served, own):
    async with served() as gateway:
        outcome = await command(gateway.url, "devices", *FLAGS, "--tls-fingerprint", own.fingerprint, key=KEY)
        outcome.must_exit(3, 4).must_say(":443", "--token-port")


async def test_a_watch_renews_its_token_before_it_expires(spawn, served, own, key_file):
    async with served(lifetime=2) as gateway:
        key_file.write_text(KEY)
        watch = spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file, *flags(gateway, own), "--log-level", "trace")
        await eventually(lambda: gateway.tokens.renewals >= 2, "two renewals", patience=30)
        # The connection stands all the while.
        assert len(gateway.sessions) == 1 and gateway.sessions[0].close_code is None
        await gateway.push("state_changed", {"devid": "0a11socket02", "value": [{"k": "switch_1", "v": True}]})
        await eventually(lambda: any('"switch_1"' in line for line in watch.output), "the event")
        # A connection that is lost is made again with a token that holds.
        await gateway.sessions[0].socket.close(1001, "restart")
        await eventually(lambda: len(gateway.sessions) == 2, "the next connection", patience=30)
        renewed = [path.removeprefix(PATH + "/") for path, _ in gateway.tokens.asked if path != PATH]
        silent_about(watch.log_text + "\n".join(watch.output), KEY, *gateway.tokens.live, *renewed)


async def test_a_watch_gets_new_tokens_where_the_old_ones_were_forgotten(spawn, served, own, key_file):
    async with served() as gateway:
        key_file.write_text(KEY)
        watch = spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file, *flags(gateway, own))
        await eventually(lambda: gateway.asked("get_status"), "the connection")
        await gateway.push("state_changed", {"devid": "0a11socket02", "value": [{"k": "switch_1", "v": True}]})
        await eventually(lambda: any('"switch_1"' in line for line in watch.output), "the event")
        gateway.tokens.live.clear()
        gateway.tokens.refresh.clear()
        await gateway.sessions[0].socket.close(1001, "restart")
        await eventually(lambda: len(gateway.sessions) == 2, "the next connection", patience=30)
        assert watch.process.poll() is None


async def test_doctor_examines_it_and_its_bundle_holds_no_secret(command, served, own, tmp_path):
    bundle = tmp_path / "bundle.json"
    async with served() as gateway:
        outcome = await command(
            gateway.url, "doctor", "--json", "--conformance", "--event-timeout", "100ms", "--bundle", str(bundle), *flags(gateway, own), key=KEY
        )  # fmt: skip
        checks = {check["name"]: check for check in outcome.json()["checks"]}
        assert [c for c in checks.values() if c["outcome"] == "fail"] == []
        assert checks["proof"]["outcome"] == "pass" and checks["decrypt"]["outcome"] == "skip"
        assert checks["wrong_key_refused"]["outcome"] == "skip" and checks["unknown_type"]["outcome"] == "pass"
        silent_about(outcome.out + outcome.err + bundle.read_text(), KEY, *gateway.tokens.live, *gateway.tokens.refresh)
        assert json.loads(bundle.read_text())["options"]["dialect"] == "2023"
        found = (await command(gateway.url, "doctor", "--explore", "--json", *flags(gateway, own), key=KEY)).must_exit(0)
        assert found.json()["options"]["dialect"] == "2023"
        out = tmp_path / "recorded"
        outcome = await command(gateway.url, "record", "--out", str(out), "--duration", "100ms", *flags(gateway, own), key=KEY)
        outcome.must_exit(0)
        recorded = "".join(path.read_text() for path in out.iterdir())
        silent_about(recorded, KEY, *gateway.tokens.live)


async def test_a_known_gateway_of_2023(run, served, own):
    async with served() as gateway:
        address = gateway.url.removeprefix("wss://")
        add = ("gateways", "add", "old", "--uuid", "abc", "--address", address, *flags(gateway, own))
        (await run(*add, stdin=KEY.encode() + b"\n")).must_exit(0)
        outcome = (await run("devices", "--gateway", "old", "--json")).must_exit(0)
        assert len(outcome.json()) == len(gateway.home)
        (await run("gateways", "add", "old", "--uuid", "abc", stdin=b"another key of any form\n")).must_exit(0)
        (await run("devices", "--gateway", "old")).must_exit(4)
        listed = (await run("gateways", "list", "--json")).must_exit(0)
        assert listed.json()[0]["options"]["dialect"] == "2023"


# The reference against our gateway


async def test_our_gateway_gives_tokens_and_sessions(our_gateway, own):
    gateway = our_gateway()
    context = tls.trusting(own.certificate)
    tokens = (await older.get(gateway.port, PATH, KEY, context)).json()
    assert set(tokens) == {"access_token", "refresh_token", "expires_in"} and tokens["expires_in"] == 7200
    async with older.connect(gateway.url, tokens["access_token"], context) as session:
        assert "0a11socket02" in await session.request("get_devices")
        assert (await session.set("0a11socket02", switch_1=True))["success"] is True
        assert (await session.event())["data"]["value"] == [{"k": "switch_1", "v": True}]
        renewed = (await older.get(gateway.port, f"{PATH}/{tokens['refresh_token']}", None, context)).json()
        # The open session lives on; the old token opens no other one.
        assert len(await session.request("get_devices")) > 0
    with pytest.raises(InvalidStatus):
        async with older.connect(gateway.url, tokens["access_token"], context):
            pass
    assert (await older.get(gateway.port, f"{PATH}/{tokens['refresh_token']}", KEY, context)).status == 401
    async with older.connect(gateway.url, renewed["access_token"], context) as session:
        assert len(await session.request("get_devices")) > 0
    given = (tokens["access_token"], tokens["refresh_token"], renewed["access_token"], renewed["refresh_token"])
    silent_about(gateway.process.log_text, KEY, *given)


async def test_our_tokens_expire(our_gateway, own):
    gateway = our_gateway("--token-lifetime", "1s")
    context = tls.trusting_nobody()
    tokens = (await older.get(gateway.port, PATH, KEY, context)).json()
    assert tokens["expires_in"] == 1
    end = time.monotonic() + 20
    while True:
        try:
            async with older.connect(gateway.url, tokens["access_token"], context):
                assert time.monotonic() < end, "the token never expires"
        except InvalidStatus as refused:
            assert refused.response.status_code == 401
            break
        await asyncio.sleep(0.1)


@pytest.mark.deadline(120)
async def test_our_gateway_refuses_and_throttles_wrong_bearers(our_gateway, own):
    gateway = our_gateway("--log-level", "trace")
    context = tls.trusting_nobody()
    wrong = "SECRETwrong-bearer"
    for number in range(20):
        path, bearer = [(PATH, wrong), (PATH, None), (f"{PATH}/{wrong}", None), (PATH, "")][number % 4]
        answer = await older.get(gateway.port, path, bearer, context)
        assert answer.status == 401 and wrong not in answer.body.decode()
    begin = time.monotonic()
    with pytest.raises(InvalidStatus) as refused:
        async with older.connect(gateway.url, wrong, context):
            pass
    assert refused.value.response.status_code == 401
    assert time.monotonic() - begin >= 0.5
    # A right key is never refused, and clears it.
    assert (await older.get(gateway.port, PATH, KEY, context)).status == 200
    times = []
    for _ in range(3):
        begin = time.monotonic()
        assert (await older.get(gateway.port, PATH, wrong, context)).status == 401
        times.append(time.monotonic() - begin)
    assert min(times) < 0.5, times
    silent_about(gateway.process.log_text, wrong, KEY)


async def test_other_paths_are_no_token_endpoint(our_gateway):
    gateway = our_gateway()
    for path in ("/", "/api/v1/tokens", "/api"):
        assert (await older.get(gateway.port, path, KEY, tls.trusting_nobody())).status == 426


async def test_our_two_ends_speak_it_with_each_other(our_gateway, own, command):
    gateway = our_gateway("--token-listen", "127.0.0.1:0")
    found = gateway.process.log_text.split("tokens on https://")[1].split()[0]
    port = found.split(":")[1]
    more = (*FLAGS, "--tls-fingerprint", gateway.fingerprint, "--token-port", port)
    outcome = await command(gateway.url, "devices", "--json", *more, key=KEY)
    assert len(outcome.must_exit(0).json()) > 0
    (await command(gateway.url, "devices", *more, key="a wrong one")).must_exit(4)
    # Who comes with a device key is told what is missing.
    outcome = await command(gateway.url, "devices", "--tls-fingerprint", gateway.fingerprint)
    outcome.must_exit(3).must_say("--dialect 2023")
