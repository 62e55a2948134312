"""A WebSocket client of few lines that answers nothing by itself: it sees pings, and can leave them unanswered."""

import asyncio
import base64
import contextlib
import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    final: bool = True


class Bare:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader = reader
        self.writer = writer

    async def upgrade(self, host: str, path: str = "/", more: str = "") -> str:
        """Asks for a WebSocket and gives the head of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(UPGRADE.format(path=path, host=host, key=key, more=more).encode())
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def send(self, opcode: int, payload: bytes, final: bool = True) -> None:
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        if len(payload) < 126:
            length = bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            length = bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        self.writer.write(bytes([(0x80 if final else 0) | opcode]) + length + mask + masked)
        await self.writer.drain()

    async def receive(self, patience: float = 10) -> Frame:
        """The next frame; raises IncompleteReadError at the end of the stream."""
        async with asyncio.timeout(patience):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return Frame(first & 0x0F, await self.reader.readexactly(length), bool(first & 0x80))


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Bare]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Bare(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def http(port: int, request: str) -> str:
    """Sends a text to the port and gives the head of what comes back."""
    async with connect(port) as bare:
        bare.writer.write(request.encode())
        async with asyncio.timeout(10):
            return (await bare.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
