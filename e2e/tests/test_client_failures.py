"""How the commands of the program end where something is wrong: the exit code, and a message that helps."""

import asyncio
import socket
import ssl
import subprocess

import pytest

from harness.files import KEY_TEXT, WRONG_KEY_TEXT, write_key
from reference import crypto
from reference.gateway import Gateway, port_that_answers

SOCKET = "0a11socket02"
COMMANDS = [["devices"], ["schema"], ["status"], ["set", SOCKET, "switch_1=on"], ["watch"]]
each_command = pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])


def busy(message="the valve is moving"):
    return {"code": "busy", "message": message, "details": [{"devid": SOCKET, "code": "busy", "message": message}]}


# 1: the gateway refused


@pytest.mark.parametrize("arguments, request_type", [(COMMANDS[1], "get_schema"), (COMMANDS[2], "get_status"), (COMMANDS[3], "set_value")], ids=lambda a: str(a))
async def test_a_refusal_is_told_with_its_code_and_message(command, key, arguments, request_type, options):
    async with Gateway(key, options=options, refuse={request_type: busy()}) as gateway:
        outcome = await command(gateway.url, *arguments)
        outcome.must_exit(1).must_say("busy", "the valve is moving")


@pytest.mark.parametrize("error", [{}, {"code": 7}, {"message": "no"}, {"reason": "strange"}], ids=str)
async def test_any_object_is_an_error(command, key, error):
    async with Gateway(key, refuse={"set_value": error}) as gateway:
        (await command(gateway.url, "set", SOCKET, "switch_1=on")).must_exit(1)


async def test_a_refused_set_prints_its_result_as_json(command, key):
    async with Gateway(key, refuse={"set_value": busy()}) as gateway:
        printed = (await command(gateway.url, "set", SOCKET, "switch_1=on", "--json")).must_exit(1).json()
        assert (printed["type"], printed["success"], printed["error"]) == ("result", False, busy())


# 2: usage


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["devices", "--gateway", "http://127.0.0.1"], ["devices", "--gateway", "ws://"], ["devices", "--gateway", "ws://127.0.0.1:0x1"], ["devices", "--gateway", "ws://127.0.0.1", "--timeout", "10"], ["devices", "--gateway", "ws://127.0.0.1", "--wire", "morse"]], ids=" ".join)
async def test_a_wrong_command_line(run, arguments):
    (await run(*arguments, HEARTHGATE_KEY=KEY_TEXT)).must_exit(2)


@each_command
async def test_a_key_is_needed(run, key, arguments):
    async with Gateway(key) as gateway:
        outcome = await run(*arguments, "--gateway", gateway.url)
        outcome.must_exit(2).must_say("--key-file", "HEARTHGATE_KEY")
        assert gateway.sessions == []


async def test_a_bad_key_is_never_repeated(run, tmp_path, key):
    bad = "this is no device key"
    async with Gateway(key) as gateway:
        for outcome in [
            await run("devices", "--gateway", gateway.url, HEARTHGATE_KEY=bad),
            await run("devices", "--gateway", gateway.url, "--key-file", write_key(tmp_path / "bad", bad)),
            await run("devices", "--gateway", gateway.url, "--key-file", "-", stdin=bad.encode()),
        ]:
            outcome.must_exit(2).must_say("16 printable")
            assert bad not in outcome.err + outcome.out
        (await run("devices", "--gateway", gateway.url, "--key-file", tmp_path / "gone", HEARTHGATE_KEY=KEY_TEXT)).must_exit(2).must_say("gone")
        assert gateway.sessions == []


# 3: no connection, or no answer in time


@each_command
async def test_nobody_listens(command, arguments):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # so that nobody else listens there either
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        (await command(f"ws://{address}", *arguments)).must_exit(3).must_say(address)


@pytest.mark.parametrize("silent_from", ["auth_required", "auth_ok", "get_devices"])
@each_command
async def test_silence_ends_with_the_timeout(command, key, silent_from, arguments):
    async with Gateway(key, silent_from=silent_from) as gateway:
        outcome = await command(gateway.url, *arguments, "--timeout", "700ms")
        outcome.must_exit(3)
        assert 0.6 < outcome.seconds < 15, outcome


async def test_an_answer_that_takes_its_time_is_waited_for(command, key):
    async with Gateway(key, delay={"get_status": 1.0}) as gateway:
        (await command(gateway.url, "status", "--timeout", "4s")).must_exit(0)


async def test_a_port_that_is_silent(command):
    async with port_that_answers(b"", then_close=False) as url:
        (await command(url, "devices", "--timeout", "600ms")).must_exit(3)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"], ids=["ssh", "404", "200"])
async def test_something_else_listens(command, answer):
    async with port_that_answers(answer) as url:
        (await command(url, "devices")).must_exit(3)


@pytest.mark.parametrize("code, reason", [(1001, "shutting down"), (1011, "a bug"), (1013, "too many sessions")])
@pytest.mark.parametrize("moment", ["auth_required", "auth_ok", "get_devices"])
async def test_a_gateway_that_closes_for_other_reasons(command, key, moment, code, reason):
    async with Gateway(key, close_at={moment: (code, reason)}) as gateway:
        (await command(gateway.url, "devices")).must_exit(3).must_say(str(code))


async def test_a_gateway_of_the_older_dialect_is_named(command):
    """An alert, as many TLS servers answer plain HTTP."""
    async with port_that_answers(bytes([0x15, 3, 1, 0, 2, 2, 70])) as url:
        (await command(url, "devices")).must_exit(3, 4).must_say("tls")


async def test_a_real_tls_server_is_named(command, tmp_path):
    """This one hangs up on plain HTTP without a word."""
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gateway", "-keyout", private, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, private)
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        (await command(f"ws://127.0.0.1:{port}", "devices")).must_exit(3, 4).must_say("tls")


# 4: authentication failed


@each_command
async def test_a_wrong_key(command, key, options, arguments):
    async with Gateway(key, options=options) as gateway:
        # In `plain` the client's proof is what is wrong, else the first message does not decrypt.
        outcome = await command(gateway.url, *arguments, key=WRONG_KEY_TEXT)
        outcome.must_exit(4).must_say("authentication", "key")
        assert gateway.requests == []
        assert WRONG_KEY_TEXT not in outcome.err


async def test_a_gateway_that_cannot_prove_its_key_is_asked_nothing(command, key):
    async with Gateway(key, options=crypto.Options(wire="plain"), wrong_proof=True) as gateway:
        outcome = await command(gateway.url, "devices")
        outcome.must_exit(4).must_say("refused the gateway")
        assert gateway.requests == []


async def test_a_gateway_that_refuses_our_key_is_told_apart(command, key):
    async with Gateway(key, close_at={"auth_ok": (1008, "authentication failed")}) as gateway:
        (await command(gateway.url, "devices")).must_exit(4).must_say("gateway", "refused our")


@pytest.mark.parametrize("first", [b"\x00" * 32, b"\x00" * 7, b"", "no base64!", "AAAA"], ids=["a block", "7 bytes", "nothing", "text", "3 bytes"])
async def test_a_first_message_that_does_not_decrypt(command, key, first):
    async with Gateway(key, first_frame=first) as gateway:
        (await command(gateway.url, "devices")).must_exit(4)
