"""The older dialect, of before 2024: section 8. Tokens over HTTPS, then JSON in text messages over wss://.

`Tokens` is a gateway's token endpoint, `OlderGateway` the whole gateway, `connect` a client's session.
"""

import asyncio
import contextlib
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio import server as websocket
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from . import client, wire
from .crypto import Options
from .gateway import Gateway, Session

PATH = "/api/v1/token"
PLAIN = Options(wire="plain")
NO_KEY = bytes(16)


@dataclass
class Answer:
    """What an HTTPS endpoint said."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def get(port: int, path: str, bearer: str | None, context: ssl.SSLContext, *, seconds: float = 40) -> Answer:
    """One GET over TLS; `bearer` goes into Authorization."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
        try:
            lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
            if bearer is not None:
                lines.append(f"Authorization: Bearer {bearer}")
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in fields)}
            body = await reader.readexactly(int(headers["content-length"]))
            return Answer(int(status.split()[1]), headers, body)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@dataclass
class Tokens:
    """A gateway's book of tokens. `asked` holds the paths of all requests, with what came in Authorization."""

    api_key: str
    lifetime: float = 7200
    wrapped: bool = False
    live: dict[str, float] = field(default_factory=dict)  # access token -> when it expires
    refresh: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, path: str, authorization: str | None) -> tuple[int, bytes]:
        self.asked.append((path, authorization))
        if path == PATH:
            right = authorization == f"Bearer {self.api_key}"
        else:
            token = path.removeprefix(PATH + "/")
            right = token in self.refresh
            self.refresh.discard(token)
        if not right:
            return 401, b"{}"
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.live[access] = time.monotonic() + self.lifetime
        self.refresh.add(refresh)
        tokens = {"access_token": access, "refresh_token": refresh, "expires_in": self.lifetime}
        return 200, json.dumps({"success": True, "result": tokens} if self.wrapped else tokens).encode()

    def holds(self, authorization: str | None) -> bool:
        token = (authorization or "").removeprefix("Bearer ")
        return self.live.get(token, 0) > time.monotonic()

    @property
    def renewals(self) -> int:
        return sum(path != PATH for path, _ in self.asked)


class OlderGateway(Gateway):
    """A gateway of before 2024, whose token endpoint is on the same port."""

    def __init__(self, tokens: Tokens, context: ssl.SSLContext, *arguments: Any, **more: Any):
        super().__init__(NO_KEY, *arguments, options=PLAIN, **more)
        self.tokens = tokens
        self.context = context

    async def __aenter__(self) -> "OlderGateway":
        self._server = await websocket.serve(
            self._serve, "127.0.0.1", 0, ssl=self.context, process_request=self._process,
            compression=None, ping_interval=None, close_timeout=1, max_size=4 * wire.GATEWAY_LIMIT,
        )  # fmt: skip
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.port}"

    async def _process(self, _: websocket.ServerConnection, request: Request) -> Response | None:
        authorization = request.headers.get("Authorization")
        if request.path.startswith(PATH):
            status, body = self.tokens.answer(request.path, authorization)
        elif self.tokens.holds(authorization):
            return None
        else:
            status, body = 401, b"{}"
        headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(status, HTTPStatus(status).phrase, headers, body)

    async def _handshake(self, session: Session) -> bool:
        session.key = NO_KEY
        return True


@contextlib.asynccontextmanager
async def connect(url: str, token: str, context: ssl.SSLContext, **arguments: Any) -> AsyncIterator[client.Client]:
    """Opens a session with an access token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with client.dial(url, PLAIN, ssl=context, additional_headers=headers, **arguments) as link:
        session = client.Client(link, NO_KEY)
        try:
            yield session
        finally:
            await session.close()
