"""A client that keeps the protocol, or breaks it on request: sections 4 to 6.

`dial` gives a bare WebSocket that speaks frames (`Link`), on which a test can do any step of the handshake wrong.
`connect` does the handshake and gives a `Client` with requests and events.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio import client as websocket
from websockets.exceptions import ConnectionClosed

from . import crypto, wire
from .crypto import Options

PATIENCE = 10.0


class HandshakeFailed(Exception):
    """The gateway is not who it should be, or does not want us."""


@dataclass
class RequestRefused(Exception):
    response: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        return self.response["error"]


@dataclass(frozen=True)
class Close:
    code: int | None
    reason: str | None


class Link:
    """A WebSocket on which nothing has been said yet."""

    def __init__(self, socket: websocket.ClientConnection, options: Options):
        self.socket = socket
        self.options = options

    async def send(self, message: dict[str, Any] | bytes, key: bytes) -> None:
        """Sends a message, or a text that need not be one, encrypted under `key`."""
        text = message if isinstance(message, bytes) else wire.encode(message)
        await self.send_frame(wire.seal(self.options, key, text))

    async def send_frame(self, frame: wire.Message | list[wire.Message]) -> None:
        """Sends whatever it is given; a list goes out as the fragments of one message."""
        await self.socket.send(frame)

    async def receive_text(self, key: bytes, patience: float = PATIENCE) -> bytes:
        async with asyncio.timeout(patience):
            return wire.open_message(self.options, key, await self.socket.recv())

    async def receive(self, key: bytes, patience: float = PATIENCE) -> dict[str, Any]:
        return wire.decode(await self.receive_text(key, patience))

    async def closed(self, patience: float = PATIENCE) -> tuple[Close, list[wire.Message]]:
        """Waits for the end: how the gateway closed, and all that it still sent before."""
        said: list[wire.Message] = []
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(patience):
                while True:
                    said.append(await self.socket.recv())
        return Close(self.socket.close_code, self.socket.close_reason), said

    async def challenge(self, key: bytes) -> bytes:
        """Reads `auth_required` and gives the gateway's nonce."""
        message = await self.receive(key)
        if message.get("type") != "auth_required":
            raise HandshakeFailed(f"got {message.get('type')} when expecting auth_required")
        nonce = crypto.from_base64(message["data"]["nonce"])
        if len(nonce) != crypto.NONCE_LENGTH:
            raise HandshakeFailed(f"a nonce of {len(nonce)} bytes")
        return nonce

    def answer(self, key: bytes, nonce_s: bytes, nonce_c: bytes) -> dict[str, Any]:
        """The `auth` that a well-behaved client sends."""
        return {
            "type": "auth",
            "data": {"nonce": crypto.to_base64(nonce_c), "hmac": crypto.proof(key, nonce_s, self.options)},
        }

    async def confirmed(self, key: bytes, nonce_c: bytes) -> None:
        """Reads `auth_ok` and checks the gateway's proof."""
        message = await self.receive(key)
        if message.get("type") != "auth_ok":
            raise HandshakeFailed(f"got {message.get('type')} when expecting auth_ok")
        if not crypto.proof_is_right(key, nonce_c, message["data"]["hmac"], self.options):
            raise HandshakeFailed("the gateway's proof is wrong")

    async def authenticate(self, key: bytes, *, behind: list[dict[str, Any]] = []) -> bytes:  # noqa: B006
        """The whole handshake; `behind` goes out right behind `auth`, under the session key. Gives the session key."""
        nonce_s, nonce_c = await self.challenge(key), crypto.fresh_nonce()
        session = crypto.session_key(nonce_s, nonce_c)
        await self.send(self.answer(key, nonce_s, nonce_c), key)
        for message in behind:
            await self.send(message, session)
        await self.confirmed(key, nonce_c)
        return session


class Client:
    """An authenticated session. `messages` and `texts` hold all that came since `auth_ok`, in order."""

    def __init__(self, link: Link, key: bytes):
        self.link = link
        self.key = key
        self.messages: list[dict[str, Any]] = []
        self.texts: list[bytes] = []
        self.ended: Exception | None = None
        self._news = asyncio.Condition()
        self._next_id = 1
        self._events_read = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                text = wire.open_message(self.link.options, self.key, await self.link.socket.recv())
                self.texts.append(text)
                self.messages.append(wire.decode(text))
                async with self._news:
                    self._news.notify_all()
        except Exception as error:  # whatever ends the stream is told to whoever waits for it
            self.ended = error
            async with self._news:
                self._news.notify_all()

    def stop_reading(self) -> None:
        """From now on the socket fills up."""
        self._reading.cancel()

    async def read_on(self) -> None:
        await asyncio.gather(self._reading, return_exceptions=True)
        self._reading = asyncio.create_task(self._read())

    async def send(self, message: dict[str, Any] | bytes) -> None:
        await self.link.send(message, self.key)

    async def first(
        self, wanted: Callable[[dict[str, Any]], bool], *, after: int = 0, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The first message from position `after` on that is wanted; waits for it."""
        position = after
        try:
            async with asyncio.timeout(patience), self._news:
                while True:
                    for message in self.messages[position:]:
                        if wanted(message):
                            return message
                    position = len(self.messages)
                    if self.ended:
                        raise self.ended
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {patience} s; came instead: {self.messages[after:]}") from None

    async def response(self, id: Any, *, after: int = 0, patience: float = PATIENCE) -> dict[str, Any]:
        def answers(m: dict[str, Any]) -> bool:
            return m.get("type") == "result" and m.get("id") == id and type(m.get("id")) is type(id)

        return await self.first(answers, after=after, patience=patience)

    async def ask(self, type: str, *data: Any, patience: float = PATIENCE) -> dict[str, Any]:
        """Sends a request and gives the response as it came, be it a success or not."""
        id, self._next_id = self._next_id, self._next_id + 1
        position = len(self.messages)
        await self.send({"id": id, "type": type} | ({"data": data[0]} if data else {}))
        return await self.response(id, after=position, patience=patience)

    async def request(self, type: str, *data: Any) -> Any:
        """Sends a request and gives the result of a success."""
        response = await self.ask(type, *data)
        if response.get("success") is not True:
            raise RequestRefused(response)
        return response.get("result")

    async def status(self, devid: str) -> dict[str, Any]:
        (status,) = await self.request("get_status", [devid])
        return status

    async def set(self, devid: str, **values: Any) -> dict[str, Any]:
        return await self.ask("set_value", [{"devid": devid, "value": [{"k": k, "v": v} for k, v in values.items()]}])

    async def event(
        self, event_type: str | None = None, devid: str | None = None, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The next event of that kind behind the last one that was asked for."""

        def matches(m: dict[str, Any]) -> bool:
            return (
                m.get("type") == "event"
                and event_type in (None, m.get("event_type"))
                and devid in (None, (m.get("data") or {}).get("devid"))
            )

        found = await self.first(matches, after=self._events_read, patience=patience)
        position = next(i for i in range(self._events_read, len(self.messages)) if self.messages[i] is found)
        self._events_read = position + 1
        return found

    def events(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if m.get("type") == "event"]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self.link.socket.close()


@contextlib.asynccontextmanager
async def dial(url: str, options: Options = Options(), **arguments: Any) -> AsyncIterator[Link]:
    """Opens a WebSocket and says nothing on it. `arguments` are those of the WebSocket library."""
    settings: dict[str, Any] = {
        "compression": None, "proxy": None, "ping_interval": None, "max_size": None, "close_timeout": 2,
    } | arguments  # fmt: skip
    async with websocket.connect(url, **settings) as socket:
        yield Link(socket, options)


@contextlib.asynccontextmanager
async def connect(url: str, key: bytes, options: Options = Options(), **arguments: Any) -> AsyncIterator[Client]:
    """Opens a session."""
    async with dial(url, options, **arguments) as link:
        client = Client(link, await link.authenticate(key))
        try:
            yield client
        finally:
            await client.close()
