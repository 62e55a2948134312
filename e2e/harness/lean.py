"""A client that costs little: hundreds of them fit into a test, and take what a gateway can send.

Of long messages it looks at the beginning only, which is enough to see the order: ECB decrypts any block by itself.
"""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness import bare
from reference import crypto, wire

MASK_OF_ZEROS = bytes(4)
CLOSED_WITHOUT_A_FRAME = 1006


class Lean(asyncio.BufferedProtocol):
    """One session, with the wire encoding `binary` or `plain`. `on_text(client, text)` gets every message, or its beginning."""

    buffer = memoryview(bytearray(1024 * 1024))  # of all clients: nothing stays in it

    def __init__(
        self, key: bytes, on_text: Callable[["Lean", bytes], None] | None,
        *, plain: bool = False, keep: int | None = None, answer_pings: bool = True,
    ):  # fmt: skip
        self.device_key = key
        self.plain = plain
        self.on_text = on_text
        self.keep = keep
        self.answer_pings = answer_pings
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.close_code = CLOSED_WITHOUT_A_FRAME
        self.close_reason = ""
        self.answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pings = 0
        self.taken = 0  # bytes from the socket
        self._next_id = 1
        self._stage = self._upgrade
        self._head = bytearray()
        self._whole = self._got = 0
        self._opcode: int | None = None

    # The socket

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(bare.UPGRADE.format(path="/", host="x", key=key, more="").encode())

    def connection_lost(self, error: Exception | None) -> None:
        lost = ConnectionError(f"closed with {self.close_code} {self.close_reason}")
        if not self.ready.done():
            self.ready.set_exception(lost)
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(lost)
        if not self.closed.done():
            self.closed.set_result(self.close_code)

    def get_buffer(self, _: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        data = self.buffer[:count]
        self.taken += count
        if self._stage == self._upgrade:
            self._head += data
            if (end := self._head.find(b"\r\n\r\n")) < 0:
                return
            assert self._head.startswith(b"HTTP/1.1 101"), bytes(self._head)
            data = memoryview(bytes(self._head[end + 4 :]))
            self._head.clear()
            self._stage = self._challenge
        self._frames(data)

    def _frames(self, data: memoryview) -> None:
        position, end = 0, len(data)
        while position < end:
            if self._opcode is None:
                self._head += data[position : position + 1]
                position += 1
                self._begin()
            else:
                count = min(self._whole - self._got, end - position)
                keeps_all = self.keep is None or self._stage != self._text
                wanted = count if keeps_all else min(count, max(0, self.keep - len(self._head)))
                self._head += data[position : position + wanted]
                self._got += count
                position += count
            if self._opcode is not None and self._got == self._whole:
                opcode, payload = self._opcode, bytes(self._head)
                self._head.clear()
                self._opcode = None
                self._take(opcode, payload)

    def _begin(self) -> None:
        head = self._head
        if len(head) < 2:
            return
        length = head[1]
        need = 2 if length < 126 else 4 if length == 126 else 10
        if len(head) < need:
            return
        if length == 126:
            (length,) = struct.unpack(">H", head[2:4])
        elif length == 127:
            (length,) = struct.unpack(">Q", head[2:10])
        self._opcode, self._whole, self._got = head[0] & 0x0F, length, 0
        head.clear()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (bare.BINARY, bare.TEXT):
            self._stage(payload)
        elif opcode == bare.PING:
            self.pings += 1
            if self.answer_pings:
                self._write(bare.PONG, payload)
        elif opcode == bare.CLOSE:
            self.close_code = struct.unpack(">H", payload[:2])[0] if payload else CLOSED_WITHOUT_A_FRAME
            self.close_reason = payload[2:].decode()
            self.transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 65536:
            size = bytes([0x80 | 126]) + struct.pack(">H", length)
        else:
            size = bytes([0x80 | 127]) + struct.pack(">Q", length)
        self.transport.write(bytes([0x80 | opcode]) + size + MASK_OF_ZEROS + payload)

    def _send(self, key: bytes, message: dict[str, Any]) -> None:
        text = wire.encode(message)
        self._write(bare.TEXT if self.plain else bare.BINARY, text if self.plain else crypto.encrypt(key, text))

    def _open(self, payload: bytes) -> dict[str, Any]:
        """Of the handshake."""
        return wire.decode(payload if self.plain else crypto.decrypt(self.device_key, payload))

    # What a session goes through

    def _upgrade(self, _: bytes) -> None:
        raise AssertionError("no message comes before the upgrade")

    def _challenge(self, payload: bytes) -> None:
        nonce_s = crypto.from_base64(self._open(payload)["data"]["nonce"])
        self.nonce = crypto.fresh_nonce()
        self.key = crypto.session_key(nonce_s, self.nonce)
        self._decryptor = Cipher(algorithms.AES(self.key), modes.ECB()).decryptor()
        auth = {"nonce": crypto.to_base64(self.nonce), "hmac": crypto.proof(self.device_key, nonce_s)}
        self._stage = self._confirm
        self._send(self.device_key, {"type": "auth", "data": auth})

    def _confirm(self, payload: bytes) -> None:
        message = self._open(payload)
        assert crypto.proof_is_right(self.device_key, self.nonce, message["data"]["hmac"])
        self._stage = self._text
        self.ready.set_result(None)

    def _text(self, payload: bytes) -> None:
        text = payload if self.plain else self._decryptor.update(payload)
        if self._whole == len(payload):
            text = text if self.plain else text[: -text[-1]]
            if self.answers and b'"type":"result"' in text[:64]:
                message = wire.decode(text)
                if message["id"] in self.answers:
                    self.answers.pop(message["id"]).set_result(message)
                    return
        if self.on_text:
            self.on_text(self, text)

    # What a test does

    async def ask(self, kind: str, data: Any = None, patience: float = 30) -> dict[str, Any]:
        """Sends a request and gives the response as it came. Not for clients that keep beginnings only."""
        id, self._next_id = self._next_id, self._next_id + 1
        answer = self.answers[id] = asyncio.get_running_loop().create_future()
        self._send(self.key, {"id": id, "type": kind} | ({} if data is None else {"data": data}))
        async with asyncio.timeout(patience):
            return await answer

    async def set(self, devid: str, **values: Any) -> dict[str, Any]:
        return await self.ask("set_value", [{"devid": devid, "value": [{"k": k, "v": v} for k, v in values.items()]}])

    async def round_trip(self) -> float:
        """Asks something small and tells how many seconds the answer took."""
        begin = time.monotonic()
        response = await self.ask("get_devices")
        assert response["success"], response
        return time.monotonic() - begin

    def hang_up(self) -> None:
        self.transport.abort()


async def connect(
    gateway: Any, on_text: Callable[[Lean, bytes], None] | None = None, *, patience: float = 30, **more: Any
) -> Lean:
    """Opens a session to a gateway of the program."""
    loop = asyncio.get_running_loop()
    plain = gateway.options.wire == "plain"
    async with asyncio.timeout(patience):
        _, client = await loop.create_connection(lambda: Lean(gateway.key, on_text, plain=plain, **more), gateway.host, gateway.port)
        await client.ready
    return client
