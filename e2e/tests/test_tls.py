"""`wss://`: our commands against the reference with Python's ssl, and the reference against our gateway."""

import re
import stat

import pytest

from harness import bare
from harness.files import write_key
from reference import client, tls
from reference.gateway import Gateway

WRONG = ":".join(["AB"] * 32)


async def ids(outcome):
    return sorted(device["devid"] for device in outcome.must_exit(0).json())


async def test_our_commands_take_a_pinned_certificate_and_no_other(command, key, tmp_path):
    own = tls.self_signed(tmp_path, days=-30)  # whoever pins it does not look at its dates
    async with Gateway(key, tls=own.server()) as gateway:
        outcome = await command(gateway.url, "devices", "--json")
        outcome.must_exit(4).must_say(own.fingerprint, f"--tls-fingerprint {own.fingerprint}")
        outcome = await command(gateway.url, "devices", "--json", "--tls-fingerprint", WRONG)
        outcome.must_exit(4).must_say("another fingerprint", own.fingerprint)
        assert gateway.sessions == []
        for spelling in (own.fingerprint, own.fingerprint.replace(":", "").lower()):
            outcome = await command(gateway.url, "devices", "--json", "--tls-fingerprint", spelling)
            assert await ids(outcome) == sorted(gateway.home)
        outcome = await command(gateway.url, "set", "0a11socket02", "switch_1=on", "--tls-fingerprint", own.fingerprint)
        outcome.must_exit(0)


async def test_our_commands_take_what_a_ca_stands_for(command, key, tmp_path):
    own = tls.self_signed(tmp_path)
    async with Gateway(key, tls=own.server()) as gateway:
        outcome = await command(gateway.url, "devices", "--json", "--tls-ca", str(own.certificate))
        assert await ids(outcome) == sorted(gateway.home)
        other = tls.self_signed(tmp_path, "other")
        outcome = await command(gateway.url, "devices", "--tls-ca", str(other.certificate))
        outcome.must_exit(4).must_say("another CA", own.fingerprint)
        garbage = write_key(tmp_path / "garbage.pem", "no certificate")
        outcome = await command(gateway.url, "devices", "--tls-ca", str(garbage))
        outcome.must_exit(3).must_say("garbage.pem", "no certificate")
    for problem, wrong in (
        ("expired", tls.self_signed(tmp_path, "expired", days=-1)),
        ("another host", tls.self_signed(tmp_path, "elsewhere", host="192.0.2.9")),
    ):
        async with Gateway(key, tls=wrong.server()) as gateway:
            outcome = await command(gateway.url, "devices", "--tls-ca", str(wrong.certificate))
            outcome.must_exit(4).must_say(problem)


async def test_a_scheme_too_few_or_too_many_is_named(command, key, tmp_path):
    own = tls.self_signed(tmp_path)
    async with Gateway(key, tls=own.server()) as gateway:
        outcome = await command(gateway.url.replace("wss", "ws"), "devices")
        outcome.must_exit(3).must_say("speaks TLS", "wss://", own.fingerprint)
    async with Gateway(key) as gateway:
        outcome = await command(gateway.url.replace("ws", "wss"), "devices", "--tls-fingerprint", WRONG)
        outcome.must_exit(3).must_say("ws:// instead of wss://")
        outcome = await command(gateway.url, "devices", "--tls-fingerprint", WRONG)
        outcome.must_exit(2).must_say("wss://")


async def test_doctor_names_what_is_wrong_with_tls(command, key, tmp_path):
    own = tls.self_signed(tmp_path)

    async def examined(url, *flags):
        outcome = await command(url, "doctor", "--json", "--event-timeout", "100ms", *flags)
        checks = {check["name"]: check for check in outcome.json()["checks"]}
        assert checks["upgrade"]["outcome"] == ("pass" if outcome.code == 0 else "fail"), outcome
        return checks["upgrade"]["detail"]

    async with Gateway(key, tls=own.server()) as gateway:
        assert "over TLS" in await examined(gateway.url, "--tls-fingerprint", own.fingerprint)
        assert f"--tls-fingerprint {own.fingerprint}" in await examined(gateway.url)
        assert "another fingerprint" in await examined(gateway.url, "--tls-fingerprint", WRONG)
        detail = await examined(gateway.url.replace("wss", "ws"))
        assert "wss://" in detail and own.fingerprint in detail
    async with Gateway(key) as gateway:
        detail = await examined(gateway.url.replace("ws", "wss"), "--tls-fingerprint", WRONG)
        assert "ws:// instead of wss://" in detail


async def test_a_known_gateway_is_pinned_by_command_and_explored(run, key_file, key, tmp_path, command):
    write_key(key_file, "k9Xq2m z7L~T4vRb")
    own = tls.self_signed(tmp_path)
    async with Gateway(key, tls=own.server()) as gateway:
        address = gateway.url.removeprefix("wss://")
        add = ("gateways", "add", "home", "--uuid", "abc", "--key-file", key_file)
        outcome = await run(*add, "--address", address, "--tls")
        assert own.fingerprint in outcome.must_exit(0).out
        (await run("devices", "--gateway", "home")).must_exit(4).must_say(own.fingerprint)
        (await run(*add, "--tls-fingerprint", own.fingerprint)).must_exit(0)
        (known,) = (await run("gateways", "list", "--json")).must_exit(0).json()
        assert known["options"] == {"tls": "true", "fingerprint": own.fingerprint}
        assert await ids(await run("devices", "--gateway", "home", "--json")) == sorted(gateway.home)
        exported = (await run("gateways", "export")).must_exit(0).out
        assert "tls = true" in exported and own.fingerprint in exported
        (await run("gateways", "remove", "home")).must_exit(0)
        (await run("gateways", "import", "-", stdin=exported.encode())).must_exit(0)
        (known,) = (await run("gateways", "list", "--json")).must_exit(0).json()
        assert known["options"]["fingerprint"] == own.fingerprint
        found = (await command(gateway.url, "doctor", "--explore", "--json", "--tls-fingerprint", own.fingerprint)).must_exit(0)
        assert found.json()["found"] and found.json()["options"]["fingerprint"] == own.fingerprint


async def test_the_reference_takes_our_certificate_by_ca_and_by_fingerprint(start_gateway, tmp_path):
    own = tls.self_signed(tmp_path)
    gateway = start_gateway(None, client.Options(), "--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    assert gateway.url.startswith("wss://") and gateway.fingerprint == own.fingerprint
    async with gateway.connect(ssl=tls.trusting(own.certificate)) as session:
        assert len(await session.request("get_devices")) > 0
        assert (await session.set("0a11socket02", switch_1=True))["success"] is True
        assert (await session.event())["data"]["value"] == [{"k": "switch_1", "v": True}]
    async with gateway.dial(ssl=tls.trusting_nobody()) as link:
        shown = link.socket.transport.get_extra_info("ssl_object")
        assert tls.fingerprint_of(shown) == gateway.fingerprint
    assert "PRIVATE" not in gateway.process.log_text


async def test_a_self_made_certificate_is_kept_and_its_key_is_the_owners(start_gateway, tmp_path):
    state = tmp_path / "state"
    prints = []
    for _ in range(2):
        gateway = start_gateway(None, client.Options(), "--tls", "--uuid", "one", state=state)
        prints.append(gateway.fingerprint)
        async with gateway.connect(ssl=tls.trusting_nobody()) as session:
            assert len(await session.request("get_devices")) > 0
        gateway.process.stop()
    assert prints[0] == prints[1]
    (private,) = state.rglob("tls.key")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


@pytest.mark.parametrize("which", ["garbage certificate", "garbage key", "another key", "no key", "missing"])
async def test_certificate_files_of_no_use_are_named(run, key_file, tmp_path, which):
    write_key(key_file, "k9Xq2m z7L~T4vRb")
    devices = tmp_path / "none"
    devices.mkdir()
    own, other = tls.self_signed(tmp_path), tls.self_signed(tmp_path, "other")
    certificate, private = own.certificate, own.key
    match which:
        case "garbage certificate":
            certificate = write_key(tmp_path / "bad.crt", "garbage")
            words = ["bad.crt", "no certificate"]
        case "garbage key":
            private = write_key(tmp_path / "bad.pem", "garbage")
            words = ["bad.pem", "no private key"]
        case "another key":
            private = other.key
            words = ["not that of the certificate"]
        case "no key":
            private = None
            words = ["--tls-key"]
        case _:
            certificate = tmp_path / "nowhere.crt"
            words = ["nowhere.crt"]
    flags = ["--tls-cert", certificate] + (["--tls-key", private] if private else [])
    arguments = ["gateway", "--devices", devices, "--key-file", key_file, "--state", "none", "--check-config"]
    (await run(*arguments, *flags)).must_exit(2).must_say(*words)
    sound = await run(*arguments, "--tls-cert", own.certificate, "--tls-key", own.key)
    assert own.fingerprint in sound.must_exit(0).out
    expired = tls.self_signed(tmp_path, "expired", days=-1)
    (await run(*arguments, "--tls-cert", expired.certificate, "--tls-key", expired.key)).must_exit(0).must_say("has expired")


async def test_port_checks_and_plain_http_on_a_tls_port_change_nothing(start_gateway, tmp_path):
    gateway = start_gateway(None, client.Options(), "--tls")
    for hello in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n") * 20:
        async with bare.connect(gateway.port) as connection:
            connection.writer.write(hello)
            if connection.writer.can_write_eof():
                connection.writer.write_eof()
            await connection.reader.read()
    async with gateway.connect(ssl=tls.trusting_nobody()) as session:
        assert len(await session.request("get_devices")) > 0
    assert not re.search("failed handshake", gateway.process.log_text)
