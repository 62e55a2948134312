"""The gateway's side of the protocol on Python's asyncio and `websockets`: see the README beside this folder."""

import argparse
import asyncio
import base64
import binascii
import hashlib
import hmac
import http
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from home import Home, Refused, make_profiles, read_profiles

BLOCK = 16
PADDING = [bytes([count]) * count for count in range(BLOCK + 1)]
HANDSHAKE_LIMIT = 4 * 1024  # bytes of JSON before auth_ok
REQUEST_LIMIT = 1024 * 1024  # and after it
BEHIND_LIMIT = 1024 * 1024  # bytes that a session may leave unread before it is closed
BATCH_LIMIT = 64 * 1024  # bytes of events that wait for the rest of the event loop's turn
HANDSHAKE_TIME = 10
IN_FLIGHT = 256  # requests of a session that wait; then it is read no further


class Wrong(Exception):
    """A message that ends the connection."""


def pad(text: bytes) -> bytes:
    """Fills the last block by PKCS#7."""
    return text + PADDING[BLOCK - len(text) % BLOCK]


class Encryption:
    """AES-128-ECB. Blocks do not depend on one another, so that one context serves all messages of a key and direction."""

    __slots__ = ("seal", "_decrypt")

    def __init__(self, key: bytes):
        cipher = Cipher(algorithms.AES(key), modes.ECB())
        self.seal = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update

    def open(self, message: bytes | str) -> bytes:
        if not isinstance(message, bytes) or not message or len(message) % BLOCK:
            raise Wrong("no whole blocks")
        padded = self._decrypt(message)
        count = padded[-1]
        if not 1 <= count <= BLOCK or not padded.endswith(PADDING[count]):
            raise Wrong("wrong padding")
        return padded[:-count]


class Session:
    __slots__ = ("connection", "encryption")

    def __init__(self, connection: ServerConnection, key: bytes):
        self.connection = connection
        self.encryption = Encryption(key)

    async def send(self, message: dict[str, Any]) -> None:
        await self.connection.send(self.encryption.seal(pad(orjson.dumps(message))))

    def deliver(self, batch: bytes, ends: list[int]) -> bool:
        """Sends a batch of events as `websockets.broadcast` does, but encrypted by one call and written by one; False: it is too slow."""
        protocol, transport = self.connection.protocol, self.connection.transport
        if protocol.state is not State.OPEN:
            return True
        if transport.get_write_buffer_size() > BEHIND_LIMIT:
            return False
        sealed, start = self.encryption.seal(batch), 0
        for end in ends:
            protocol.send_binary(sealed[start:end])
            start = end
        transport.write(b"".join(protocol.data_to_send()))
        return True


class Gateway:
    def __init__(self, key: bytes, home: Home):
        self.key = key
        self.home = home
        self.sessions: set[Session] = set()
        self.closing: set[asyncio.Task[None]] = set()
        self.last_event = 0
        self.pending: list[bytes] = []  # padded events, the same for all sessions
        self.pending_bytes = 0

    # Events

    def report(self, data: dict[str, Any]) -> None:
        """Numbers and encodes an event once; it goes out with all that are made in this turn of the event loop."""
        self.last_event += 1
        event = pad(orjson.dumps({"id": self.last_event, "type": "event", "event_type": "state_changed", "data": data}))
        if not self.pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self.pending.append(event)
        self.pending_bytes += len(event)
        if self.pending_bytes >= BATCH_LIMIT:
            self.flush()

    def flush(self) -> None:
        if not self.pending:
            return
        batch, ends, end = b"".join(self.pending), [], 0
        for event in self.pending:
            end += len(event)
            ends.append(end)
        self.pending, self.pending_bytes = [], 0
        slow = [session for session in self.sessions if not session.deliver(batch, ends)]
        for session in slow:
            self.sessions.discard(session)
            task = asyncio.create_task(session.connection.close(1013, "too slow"))
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    # Sessions

    async def serve(self, connection: ServerConnection) -> None:
        session = Session(connection, self.key)
        try:
            try:
                async with asyncio.timeout(HANDSHAKE_TIME):
                    session_key = await self.handshake(session)
            except (TimeoutError, Wrong):
                await connection.close(1008, "authentication failed")
                return
            session.encryption = Encryption(session_key)
            self.flush()  # older events are none of this session's
            self.sessions.add(session)
            await self.answer_all(session)
        except Wrong:
            await connection.close(1008, "does not decrypt")
        except ConnectionClosed:
            pass
        finally:
            self.sessions.discard(session)

    async def handshake(self, session: Session) -> bytes:
        nonce = os.urandom(BLOCK)
        await session.send({"type": "auth_required", "data": {"nonce": to_base64(nonce)}})
        text = session.encryption.open(await session.connection.recv())
        theirs = self.nonce_of(text, nonce)
        await session.send({"type": "auth_ok", "data": {"hmac": to_base64(self.proof(theirs))}})
        return bytes(a ^ b for a, b in zip(nonce, theirs, strict=True))

    def nonce_of(self, text: bytes, ours: bytes) -> bytes:
        """The client's nonce, if its `auth` is right in every respect."""
        message = parse(text)
        if len(text) > HANDSHAKE_LIMIT or message is None or message.get("type") != "auth" or not isinstance(message.get("data"), dict):
            raise Wrong("no auth")
        theirs, claimed = from_base64(message["data"].get("nonce")), from_base64(message["data"].get("hmac"))
        if len(theirs) != BLOCK or theirs == ours or not hmac.compare_digest(claimed, self.proof(ours)):
            raise Wrong("wrong proof")
        return theirs

    def proof(self, nonce: bytes) -> bytes:
        return hmac.digest(self.key, nonce, hashlib.sha256)

    # Requests

    async def answer_all(self, session: Session) -> None:
        connection, open_message = session.connection, session.encryption.open
        async for frame in connection:
            message = parse(open_message(frame))
            if message is None or message.get("type") not in ("event", "result"):
                await session.send(self.answer(message))

    def answer(self, message: dict[str, Any] | None) -> dict[str, Any]:
        id = message.get("id") if message else None
        if type(id) is not int or not -(2**63) <= id < 2**63:
            id = None
        try:
            if message is None:
                raise Refused("invalid_request", "no JSON object")
            if id is None:
                raise Refused("invalid_request", "id is no integer")
            result = self.result(message)
        except Refused as refused:
            return {"id": id or 0, "type": "result", "success": False, "error": refused.error}
        if result is None:
            return {"id": id, "type": "result", "success": True}
        return {"id": id, "type": "result", "success": True, "result": result}

    def result(self, message: dict[str, Any]) -> list[Any] | None:
        data = message.get("data")
        match message.get("type"):
            case "get_status":
                self.flush()  # so that no answer is overtaken by an older event
                return self.home.statuses(data)
            case "set_value":
                for report in self.home.write(data):
                    self.report(report)
                return None
            case "get_schema":
                return self.home.schemas(data)
            case "get_devices":
                return self.home.devids()
            case str(other):
                raise Refused("unknown_type", f"unknown type {other}")
        raise Refused("invalid_request", "type is no string")


def parse(text: bytes) -> dict[str, Any] | None:
    try:
        message = orjson.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, binascii.Error, UnicodeEncodeError) as error:
        raise Wrong("bad base64") from error


def read_key(text: str) -> bytes:
    if len(text) == 32 and all(c in "0123456789abcdefABCDEF" for c in text):
        return bytes.fromhex(text)
    if len(text) == 16 and all(" " <= c <= "~" for c in text):
        return text.encode()
    sys.exit("HEARTHGATE_KEY: expected 16 printable ASCII characters or 32 hexadecimal digits")


def only_upgrades(connection: ServerConnection, request: Any) -> Any:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return None
    return connection.respond(http.HTTPStatus.UPGRADE_REQUIRED, "This is a WebSocket.\n")


async def run(gateway: Gateway) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopped.set)
    threading.Thread(target=wait_for_end_of_input, args=(loop, stopped), daemon=True).start()
    server: Server
    async with serve(
        gateway.serve, "127.0.0.1", 0, process_request=only_upgrades, compression=None, server_header=None,
        max_size=REQUEST_LIMIT + BLOCK, max_queue=IN_FLIGHT, open_timeout=HANDSHAKE_TIME, close_timeout=1,
        ping_interval=15, ping_timeout=30, backlog=4096,
    ) as server:  # fmt: skip
        print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await stopped.wait()
        server.close(code=1001, reason="shutting down")


def wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # there is none
    loop.call_soon_threadsafe(stopped.set)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    devices = arguments.add_mutually_exclusive_group(required=True)
    devices.add_argument("--devices", type=int, metavar="N")
    devices.add_argument("--profiles", type=Path, metavar="FOLDER")
    arguments.add_argument("--prefix", default="bench-")
    arguments.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = arguments.parse_args()
    profiles = read_profiles(options.profiles) if options.profiles else make_profiles(options.devices, options.prefix)
    gateway = Gateway(read_key(os.environ.get("HEARTHGATE_KEY", "")), Home(profiles))
    if options.loop == "uvloop":
        import uvloop

        uvloop.run(run(gateway))
    else:
        asyncio.run(run(gateway))


if __name__ == "__main__":
    main()
