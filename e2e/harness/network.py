"""Networks that fail: one of namespaces, in which packets vanish, and a relay that swallows bytes."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import system


def ip(*arguments: str) -> None:
    outcome = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert outcome.returncode == 0, f"ip {' '.join(arguments)}: {outcome.stderr}"


@dataclass
class Network:
    """Two networks and a router between them, in which nothing else is; nothing of it is seen outside.

    `near` is at 192.0.2.2 (and .3), `far` at 198.51.100.2, as the documentation's addresses are nobody's.
    """

    name: str
    near_address = "192.0.2.2"
    other_near_address = "192.0.2.3"
    far_address = "198.51.100.2"

    @property
    def near(self) -> Sequence[str]:
        """Runs what follows there."""
        return ("ip", "netns", "exec", f"{self.name}-near")

    @property
    def far(self) -> Sequence[str]:
        return ("ip", "netns", "exec", f"{self.name}-far")

    def drop_everything(self, drop: bool) -> None:
        """The router takes packets and passes none on: no link goes down, nobody is told."""
        forward = f"echo {0 if drop else 1} > /proc/sys/net/ipv4/ip_forward"
        subprocess.run(["ip", "netns", "exec", f"{self.name}-router", "sh", "-c", forward], check=True)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    system.need("ip", "iproute2")
    made = Network(f"hg{os.getpid()}")
    places = {"near": ("192.0.2", [made.near_address, made.other_near_address]), "far": ("198.51.100", [made.far_address])}
    router = f"{made.name}-router"
    try:
        ip("netns", "add", router)
        for place, (net, addresses) in places.items():
            space = f"{made.name}-{place}"
            ip("netns", "add", space)
            ip("link", "add", place, "netns", router, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", router, "address", "add", f"{net}.1/24", "dev", place)
            ip("-n", router, "link", "set", place, "up")
            for address in addresses:
                ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", space, "link", "set", link, "up")
            ip("-n", space, "route", "add", "default", "via", f"{net}.1")
        made.drop_everything(False)
        yield made
    finally:
        for space in (*places, "router"):
            subprocess.run(["ip", "netns", "del", f"{made.name}-{space}"], capture_output=True)


class Relay:
    """Passes connections on to a port of loopback. While `swallowing`, it takes bytes and passes none on, and new
    connections are taken and stay silent."""

    def __init__(self, port: int):
        self.target = port
        self.swallowing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)
            copies = [asyncio.create_task(self._copy(reader, inner_writer)), asyncio.create_task(self._copy(inner_reader, writer))]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for copy in copies:
                copy.cancel()
            inner_writer.close()
            writer.close()
        except OSError:
            writer.close()
        finally:
            self._tasks.discard(task)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not self.swallowing:
                    target.write(data)
