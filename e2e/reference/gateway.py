"""A gateway that keeps the protocol, or breaks it on request: sections 4 to 6.

It serves a few devices on a loopback port, remembers what it was asked, and sends the events that a test tells it to send.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio import server as websocket
from websockets.exceptions import ConnectionClosed

from . import crypto, profiles, rules, wire
from .crypto import Options
from .profiles import Profile

HANDSHAKE_TIME = 10.0
FAILED = (1008, "authentication failed")


@dataclass
class Behaviour:
    """How the gateway misbehaves; by default not at all."""

    wrong_proof: bool = False
    first_frame: wire.Message | None = None  # instead of auth_required
    silent_from: str | None = None  # "auth_required", "auth_ok", or the type of a request
    close_at: dict[str, tuple[int, str]] = field(default_factory=dict)  # "auth_required", "auth_ok", or a request's type
    unknown_fields: bool = False  # in every message
    function_name: str = "function"  # the seed's table says `functions` once
    refuse: dict[str, Any] = field(default_factory=dict)  # request type -> error
    delay: dict[str, float] = field(default_factory=dict)  # request type -> seconds
    behind_auth_ok: list[dict[str, Any]] = field(default_factory=list)  # messages sent at once
    spelling: Callable[[Any], bytes] = wire.encode  # how a message becomes text


class Session:
    """One connection, as the gateway sees it."""

    def __init__(self, socket: websocket.ServerConnection):
        self.socket = socket
        self.path = socket.request.path
        self.headers = socket.request.headers
        self.key: bytes | None = None  # the session key, once there is one
        self.frames: list[wire.Message] = []
        self.requests: list[dict[str, Any]] = []

    @property
    def close_code(self) -> int | None:
        return self.socket.close_code

    def asked(self, type: str) -> list[dict[str, Any]]:
        return [r for r in self.requests if r.get("type") == type]


class Gateway:
    def __init__(
        self, key: bytes, devices: list[Profile] | None = None, options: Options = Options(),
        tls: ssl.SSLContext | None = None, **behaviour: Any
    ):  # fmt: skip
        self.key = key
        self.home = {d["devid"]: d for d in (profiles.home() if devices is None else devices)}
        self.options = options
        self.tls = tls
        self.behaviour = Behaviour(**behaviour)
        self.sessions: list[Session] = []
        self.last_event = 0

    async def __aenter__(self) -> "Gateway":
        self._server = await websocket.serve(
            self._serve, "127.0.0.1", 0, ssl=self.tls,
            compression=None, ping_interval=None, close_timeout=1, max_size=4 * wire.GATEWAY_LIMIT,
        )  # fmt: skip
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close(code=1001, reason="shutting down")
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request of every session, in order of arrival within each."""
        return [r for s in self.sessions for r in s.requests]

    def asked(self, type: str) -> list[dict[str, Any]]:
        return [r for r in self.requests if r.get("type") == type]

    @property
    def authenticated(self) -> list[Session]:
        return [s for s in self.sessions if s.key]

    # What a session goes through

    async def _serve(self, socket: websocket.ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        with contextlib.suppress(ConnectionClosed):
            try:
                async with asyncio.timeout(HANDSHAKE_TIME):
                    welcome = await self._handshake(session)
            except TimeoutError:
                welcome = False
            if not welcome:
                await socket.close(*FAILED)
                return
            for message in self.behaviour.behind_auth_ok:
                await self.send(session, message)
            async with asyncio.TaskGroup() as answers:
                await self._read_requests(session, answers)

    async def _handshake(self, session: Session) -> bool:
        if self.behaviour.close_at.get("auth_required"):
            await session.socket.close(*self.behaviour.close_at["auth_required"])
        if self.behaviour.silent_from == "auth_required":
            await session.socket.wait_closed()
        nonce_s = crypto.fresh_nonce()
        challenge = {"type": "auth_required", "data": {"nonce": crypto.to_base64(nonce_s)}}
        first = self.behaviour.first_frame
        await session.socket.send(self._seal(self.key, challenge) if first is None else first)
        frame = await session.socket.recv()
        session.frames.append(frame)
        try:
            nonce_c = self.nonce_of(frame, nonce_s)
        except (crypto.DoesNotDecrypt, wire.NoObject, ValueError):
            return False
        if self.behaviour.close_at.get("auth_ok"):
            await session.socket.close(*self.behaviour.close_at["auth_ok"])
        if self.behaviour.silent_from == "auth_ok":
            await session.socket.wait_closed()
        signed = crypto.fresh_nonce() if self.behaviour.wrong_proof else nonce_c
        proof = crypto.proof(self.key if not self.behaviour.wrong_proof else bytes(16), signed, self.options)
        await session.socket.send(self._seal(self.key, {"type": "auth_ok", "data": {"hmac": proof}}))
        session.key = crypto.session_key(nonce_s, nonce_c)
        return True

    def nonce_of(self, frame: wire.Message, nonce_s: bytes) -> bytes:
        """The client's nonce, if its `auth` is right in every respect."""
        text = wire.open_message(self.options, self.key, frame)
        message = wire.decode(text)
        data = message.get("data")
        if len(text) > wire.HANDSHAKE_LIMIT or message.get("type") != "auth" or not isinstance(data, dict):
            raise ValueError("no auth")
        if not isinstance(data.get("nonce"), str):
            raise ValueError("no nonce")
        nonce_c = crypto.from_base64(data["nonce"])
        if len(nonce_c) != crypto.NONCE_LENGTH or nonce_c == nonce_s:
            raise ValueError("a nonce of the wrong length, or our own")
        if not crypto.proof_is_right(self.key, nonce_s, data.get("hmac"), self.options):
            raise ValueError("wrong proof")
        return nonce_c

    async def _read_requests(self, session: Session, answers: asyncio.TaskGroup) -> None:
        async for frame in session.socket:
            session.frames.append(frame)
            try:
                text = wire.open_message(self.options, session.key, frame)
            except crypto.DoesNotDecrypt:
                await session.socket.close(1008, "does not decrypt")
                return
            if len(text) > wire.GATEWAY_LIMIT:
                await session.socket.close(1009, "too large")
                return
            try:
                request = wire.decode(text)
            except wire.NoObject as error:
                await self.respond(session, rules.NO_ID, error=rules.Refused("invalid_request", str(error)).as_error())
                continue
            session.requests.append(request)
            if request.get("type") not in ("event", "result"):
                answers.create_task(self._answer(session, request))

    # Answers

    async def _answer(self, session: Session, request: dict[str, Any]) -> None:
        kind, id = request.get("type"), rules.id_of(request)
        with contextlib.suppress(ConnectionClosed):
            if kind == self.behaviour.silent_from:
                return
            if kind in self.behaviour.close_at:
                await session.socket.close(*self.behaviour.close_at[kind])
                return
            await asyncio.sleep(self.behaviour.delay.get(kind, 0))
            if kind in self.behaviour.refuse:
                await self.respond(session, id, error=self.behaviour.refuse[kind])
                return
            try:
                rules.check_request(request)
                result = self._result(request)
            except rules.Refused as refused:
                await self.respond(session, id, error=refused.as_error())
                return
            await self.respond(session, id, result)
            if kind == "set_value":
                await self._report(rules.writes(request))

    def _result(self, request: dict[str, Any]) -> Any:
        match request["type"]:
            case "get_devices":
                return list(self.home)
            case "get_schema":
                return [self._schema(devid) for devid in rules.device_ids(request, self.home)]
            case "get_status":
                return [profiles.status_of(self.home[devid]) for devid in rules.device_ids(request, self.home)]
            case "set_value":
                rules.check_writes(rules.writes(request), self.home)
                return None
        raise rules.Refused("unknown_type", f"unknown type {request['type']}")

    def _schema(self, devid: str) -> dict[str, Any]:
        schema = profiles.schema_of(self.home[devid])
        schema[self.behaviour.function_name] = schema.pop("function")
        return schema

    async def _report(self, items: list[tuple[str, list[rules.Write]]]) -> None:
        """Does what was written and tells every session."""
        for devid, values in items:
            device = self.home[devid]
            reported = {point["code"] for point in device["status"]}
            new = {w.k: w.v for w in values if w.k in reported}
            device["value"] = [{"k": k, "v": v} for k, v in (profiles.values_of(device) | new).items()]
            if new:
                await self.push("state_changed", {"devid": devid, "value": [{"k": k, "v": v} for k, v in new.items()]})

    async def respond(self, session: Session, id: int, result: Any = None, error: Any = None) -> None:
        response: dict[str, Any] = {"id": id, "type": "result", "success": error is None}
        if result is not None:
            response["result"] = result
        if error is not None:
            response["error"] = error
        await self.send(session, response)

    # Events

    async def push(self, event_type: str, data: Any, *, id: int | None = None, **fields: Any) -> dict[str, Any]:
        """Sends an event to every session, under the next id unless told another one."""
        self.last_event = self.last_event + 1 if id is None else id
        event = {"id": self.last_event, "type": "event", "event_type": event_type, "data": data} | fields
        for session in self.authenticated:
            with contextlib.suppress(ConnectionClosed):
                await self.send(session, event)
        return event

    async def send(self, session: Session, message: dict[str, Any]) -> None:
        await session.socket.send(self._seal(session.key, message))

    def _seal(self, key: bytes, message: dict[str, Any]) -> wire.Message:
        if self.behaviour.unknown_fields:
            message = {"zz_unknown": [1, {"two": None}], **message}
            if isinstance(message.get("data"), dict):
                message["data"] = {"zz_more": "摄氏度", **message["data"]}
        return wire.seal(self.options, key, self.behaviour.spelling(message))


@contextlib.asynccontextmanager
async def port_that_answers(first_bytes: bytes, *, then_close: bool = True):
    """A TCP port that sends `first_bytes` to whatever comes, and is then silent or gone."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if first_bytes:
                await reader.read(1)
                writer.write(first_bytes)
                await writer.drain()
            if not then_close:
                await reader.read()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
