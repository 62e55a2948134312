"""WebSockets as section 3 wants them: kinds of messages, sizes, fragments, pings, upgrades and close codes."""

import asyncio
import contextlib

import pytest

from harness import bare
from reference import crypto, wire
from reference.client import connect
from reference.crypto import Options

CIPHERED = pytest.mark.parametrize("encoding", ["binary", "base64"])


def of_size(size, **fields):
    """A message whose JSON is exactly so long."""
    text = wire.encode(fields | {"pad": ""})
    return wire.encode(fields | {"pad": "x" * (size - len(text))})


async def is_closed(link, code):
    close, _ = await link.closed()
    assert close.code == code


# What does not decrypt

BROKEN = {
    "nothing": lambda key: b"",
    "no whole block": lambda key: crypto.encrypt(key, b'{"id":1,"type":"get_devices"}')[:-1],
    "padding of 0": lambda key: crypto.encrypt_blocks(key, bytes(16)),
    "padding of 17": lambda key: crypto.encrypt_blocks(key, bytes([17]) * 16),
    "padding that differs": lambda key: crypto.encrypt_blocks(key, bytes([1] * 14 + [3, 2])),
}


@CIPHERED
@pytest.mark.parametrize("name", BROKEN)
async def test_a_frame_that_does_not_decrypt_closes_the_session(start_gateway, encoding, name):
    gateway = start_gateway(options=Options(wire=encoding))
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        await link.send_frame(wire.envelope(encoding, BROKEN[name](session)))
        await is_closed(link, 1008)


async def test_a_frame_of_the_other_kind_closes_the_session(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        ciphertext = crypto.encrypt(session, b'{"id":1,"type":"get_devices"}')
        await link.send_frame(crypto.to_base64(ciphertext) if options.wire == "binary" else ciphertext)
        await is_closed(link, 1008)


SPOILS = {
    "a letter of another alphabet": lambda text: "_" + text[1:],
    "a sign that is no letter": lambda text: "!" + text[1:],
    "a lost last letter": lambda text: text[:-1],
    "a blank before": lambda text: f" {text}",
    "a line feed behind": lambda text: f"{text}\n",
    "a line feed inside": lambda text: f"{text[:20]}\n{text[20:]}",
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
async def test_bad_base64_closes_the_session(start_gateway, spoil):
    gateway = start_gateway(options=Options(wire="base64"))
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        await link.send_frame(spoil(wire.seal(link.options, session, b'{"id":1,"type":"get_devices"}')))
        await is_closed(link, 1008)


async def test_plain_text_where_ciphertext_is_spoken_closes_the_session(start_gateway):
    gateway = start_gateway(options=Options(wire="base64"))
    async with gateway.dial() as link:
        await link.authenticate(gateway.key)
        await link.send_frame('{"id":1,"type":"get_devices"}')
        await is_closed(link, 1008)


# Sizes


async def test_four_kib_are_taken_before_auth_ok(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        nonce_s, nonce_c = await link.challenge(gateway.key), crypto.fresh_nonce()
        await link.send(of_size(4096, **link.answer(gateway.key, nonce_s, nonce_c)), gateway.key)
        await link.confirmed(gateway.key, nonce_c)


@pytest.mark.parametrize("size", [4097, 8192])
async def test_more_than_four_kib_are_too_large_before_auth_ok(start_gateway, options, size):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        answer = link.answer(gateway.key, await link.challenge(gateway.key), crypto.fresh_nonce())
        await link.send(of_size(size, **answer), gateway.key)
        close, said = await link.closed()
        assert (close.code, said) == (1009, [])


async def test_one_mib_is_taken_after_auth_ok(start_gateway, options):
    async with start_gateway(options=options).connect() as session:
        await session.send(of_size(1024 * 1024, id=5, type="get_devices"))
        assert (await session.response(5))["success"] is True


async def test_more_than_one_mib_is_too_large_after_auth_ok(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        await link.send(of_size(1024 * 1024 + 1, id=5, type="get_devices"), session)
        await is_closed(link, 1009)


async def test_fragments_are_counted_together(gateway):
    async with gateway.dial() as link:
        session = await link.authenticate(gateway.key)
        frame = wire.seal(link.options, session, of_size(1024 * 1024 + 1, id=5, type="get_devices"))
        await link.send_frame([frame[i : i + 65536] for i in range(0, len(frame), 65536)])
        await is_closed(link, 1009)


async def test_a_huge_message_harms_nobody_else(gateway):
    answered = None
    # A connection that was cut while it was still sending trips the WebSocket library when it leaves.
    with contextlib.suppress(AttributeError):
        async with gateway.connect() as other, gateway.dial() as link:
            session = await link.authenticate(gateway.key)
            sending = asyncio.create_task(link.send_frame(wire.seal(link.options, session, bytes(32 * 1024 * 1024))))
            await link.closed(patience=20)
            await asyncio.wait([sending], timeout=5)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            answered = await other.request("get_devices")
    assert answered


# Fragments and pings


def in_pieces(frame, size):
    return [frame[i : i + size] for i in range(0, len(frame), size)]


async def test_fragments_are_put_together(start_gateway, options):
    gateway = start_gateway(options=options)
    async with gateway.dial() as link:
        nonce_s, nonce_c = await link.challenge(gateway.key), crypto.fresh_nonce()
        auth = wire.encode(link.answer(gateway.key, nonce_s, nonce_c))
        await link.send_frame(in_pieces(wire.seal(options, gateway.key, auth), 7))
        await link.confirmed(gateway.key, nonce_c)
        session = crypto.session_key(nonce_s, nonce_c)
        request = wire.seal(options, session, '{"id":1,"type":"get_devices","x":"摄氏度 ℃"}'.encode())
        await link.send_frame(in_pieces(request, 1))
        assert (await link.receive(session))["success"] is True


async def test_a_ping_is_answered_during_the_handshake_between_fragments_and_after(gateway):
    async with gateway.dial() as link:

        async def pinged():
            async with asyncio.timeout(5):
                await (await link.socket.ping(b"are you there?"))

        await pinged()
        nonce_s, nonce_c = await link.challenge(gateway.key), crypto.fresh_nonce()
        await pinged()
        frame = wire.seal(link.options, gateway.key, wire.encode(link.answer(gateway.key, nonce_s, nonce_c)))

        async def pieces():
            yield frame[:20]
            await pinged()
            yield frame[20:]

        await link.send_frame(pieces())
        await link.confirmed(gateway.key, nonce_c)
        await pinged()


# Upgrades

PLAIN_GET = "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"


@pytest.mark.parametrize("path, more", [("/", ""), ("/any/path?x=1", "Connection: keep-alive\r\n"), ("/", "Connection: Upgrade\r\nUpgrade: h2c\r\n")])
async def test_a_request_that_is_no_upgrade_gets_426(gateway, path, more):
    head = await bare.http(gateway.port, PLAIN_GET.format(path=path, more=more))
    assert head.split()[1] == "426", head
    assert "upgrade: websocket" in head.lower()


async def test_another_version_is_not_upgraded(gateway):
    async with bare.connect(gateway.port) as socket:
        socket.writer.write(bare.UPGRADE.format(path="/", host="x", key="AAAAAAAAAAAAAAAAAAAAAA==", more="").replace("Version: 13", "Version: 8").encode())
        head = (await socket.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.split()[1] in ("400", "426")


async def test_neither_subprotocol_nor_extension_is_chosen(gateway):
    async with gateway.dial(subprotocols=["tuya", "chat"], compression="deflate") as link:
        assert link.socket.subprotocol is None
        head = {k.lower() for k in link.socket.response.headers}
        assert not head & {"sec-websocket-protocol", "sec-websocket-extensions"}
        await link.authenticate(gateway.key)


@pytest.mark.parametrize("path", ["/", "/socket", "/a/b/c?d=e&f=%20", "/" + "x" * 200])
async def test_any_path_is_taken(gateway, path):
    async with connect(gateway.url + path, gateway.key) as session:
        assert await session.request("get_devices")


async def test_origin_and_host_are_ignored(gateway):
    async with bare.connect(gateway.port) as socket:
        head = await socket.upgrade("example.org:1", more="Origin: https://evil.example\r\nAuthorization: Bearer x\r\n")
        assert head.split()[1] == "101"
        frame = await socket.receive()
        assert frame.opcode == bare.BINARY
        assert b"auth_required" in crypto.decrypt(gateway.key, frame.payload)


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160), b"\0" * 64, b"HELO example.org\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000])
async def test_noise_on_the_port_harms_nobody(gateway, noise):
    async with gateway.connect() as other, bare.connect(gateway.port) as socket:
        try:
            socket.writer.write(noise)
            await socket.writer.drain()
        except ConnectionError:
            pass
        assert await other.request("get_devices")


# Closing


async def test_a_client_that_is_done_is_let_go(gateway):
    async with gateway.dial() as link:
        await link.authenticate(gateway.key)
        await link.socket.close(1000)
        assert link.socket.close_code == 1000


async def test_an_unmasked_frame_ends_the_connection(gateway):
    async with bare.connect(gateway.port) as socket:
        await socket.upgrade("x")
        await socket.receive()
        socket.writer.write(bytes([0x82, 2]) + b"ab")
        async with asyncio.timeout(5):
            await socket.reader.read()
    async with gateway.connect() as session:
        assert await session.request("get_devices")
