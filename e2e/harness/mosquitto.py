"""Debian's Mosquitto, on a free port of loopback: the broker that most Home Assistants have."""

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

from .program import START, Running


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nothing listens on. For programs that cannot be asked which one they took."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mosquitto:
    """Keeps its port, and with `persistent` its retained messages too, however it ends."""

    def __init__(self, folder: Path, *, persistent: bool):
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "mosquitto is not there: `make mosquitto` installs it"
        folder.mkdir(parents=True)
        self.port = free_port()
        self.persistent = persistent
        self.configuration = folder / "mosquitto.conf"
        self.argv = [program, "-c", str(self.configuration)]
        self._configure(persistent)
        self.process: Running | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def _configure(self, persistent: bool) -> None:
        folder = self.configuration.parent
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "max_queued_messages 0",
            "user root",  # started by root it would give up the right to write into the folder
            "log_type error",
            "log_type warning",
            "log_type notice",
            *(["persistence true", f"persistence_location {folder}/", "autosave_on_changes true", "autosave_interval 1"] if persistent
              else ["persistence false"]),
        ]  # fmt: skip
        self.configuration.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        self.process = Running(self.argv, dict(os.environ))
        end = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.process.poll() is None and time.monotonic() < end, self.process.story()
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        if self.process:
            self.process.stop()
