"""Runs the program under test: in the background, or to its end.

Every process is ended by its own process id, and everything it said is kept for the report of a failed test.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reference import client
from reference.crypto import Options

ROOT = Path(__file__).resolve().parents[2]
START = 20.0
T = TypeVar("T")
LISTENS = re.compile(r"listening on wss?://([0-9A-Za-z.\[\]:-]+):(\d+)")
FINGERPRINT = re.compile(r"fingerprint ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})")


def binary() -> Path:
    path = Path(os.environ.get("HEARTHGATE_BIN", "target/debug/hearthgate"))
    path = path if path.is_absolute() else ROOT / path
    assert path.is_file(), f"{path} is not there: build the program first, or name it in HEARTHGATE_BIN"
    return path


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which nothing of the user's is found."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEARTHGATE_", "XDG_", "RUST_LOG"))}
    state = home / "state"
    return kept | {"HOME": str(home), "XDG_STATE_HOME": str(state), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"} | more


def variant_flags(options: Options) -> list[str]:
    """The command line flags for whatever is not the default."""
    default = Options()
    names = {"wire": "--wire", "padding": "--padding", "key_form": "--key-form", "proof": "--proof",
             "proof_over": "--proof-over", "path": "--path"}  # fmt: skip
    flags: list[str] = []
    for field, flag in names.items():
        if getattr(options, field) != getattr(default, field):
            flags += [flag, getattr(options, field)]
    return flags


class Running:
    """A process in the background."""

    everything: list["Running"] = []  # of the current test, for its report

    def __init__(self, argv: Sequence[str], environment: dict[str, str], *, stdin: bytes | None = None, hold_stdin: bool = False, **more: Any):
        self.argv = list(argv)
        self.process = subprocess.Popen(
            self.argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, **more,
        )  # fmt: skip
        if stdin is not None:
            # It may have ended without reading it.
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(stdin)
                if not hold_stdin:
                    self.process.stdin.close()
        self.output: list[str] = []
        self.log: list[str] = []
        self._readers = [self._read(self.process.stdout, self.output), self._read(self.process.stderr, self.log)]
        Running.everything.append(self)

    def _read(self, stream: Any, lines: list[str]) -> threading.Thread:
        def copy() -> None:
            for line in stream:
                lines.append(line.decode("utf-8", "replace").rstrip("\n"))

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        return thread

    @property
    def log_text(self) -> str:
        return "\n".join(self.log)

    def wait_for_log(self, pattern: re.Pattern[str], patience: float = START) -> re.Match[str]:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            for line in list(self.log):
                if found := pattern.search(line):
                    return found
            if self.process.poll() is not None and not self._readers[1].is_alive():
                break
            time.sleep(0.005)
        raise AssertionError(f"no line of standard error matches {pattern.pattern!r}\n{self.story()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float) -> int:
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {patience} s\n{self.story()}") from None
        for reader in self._readers:
            reader.join(2)
        return code

    def kill(self) -> None:
        """Ends it as nothing can prevent or notice: `kill -9`."""
        self.process.kill()
        self.wait(10)

    def memory(self, field: str = "VmRSS") -> int:
        """Its memory in bytes: VmRSS is that of now, VmHWM the most that it ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def log_lines(self, pattern: str) -> list[str]:
        return [line for line in list(self.log) if re.search(pattern, line)]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(4)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def story(self) -> str:
        code = self.process.poll()
        return (
            f"$ {' '.join(self.argv)}\n[{'running' if code is None else f'exit code {code}'}]\n"
            f"--- standard output\n{shorten(self.output)}\n--- standard error\n{shorten(self.log)}"
        )


def shorten(lines: list[str], most: int = 200) -> str:
    return "\n".join(lines if len(lines) <= most else [*lines[:20], "[..]", *lines[20 - most :]])


@dataclass
class RunningGateway:
    """A gateway of the program, on a free port."""

    process: Running
    host: str
    port: int
    key: bytes
    options: Options
    folder: Path
    secure: bool = False

    @property
    def url(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.host}:{self.port}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its certificate, as it logged it at its start."""
        return self.process.wait_for_log(FINGERPRINT)[1]

    def connect(self, key: bytes | None = None, **arguments: Any) -> Any:
        return client.connect(self.url, self.key if key is None else key, self.options, **arguments)

    def dial(self, **arguments: Any) -> Any:
        return client.dial(self.url, self.options, **arguments)


@dataclass
class Outcome:
    """What a command that has ended left behind."""

    argv: list[str]
    code: int
    out: str
    err: str
    seconds: float

    def must_exit(self, *codes: int) -> "Outcome":
        expected = " or ".join(map(str, codes))
        assert self.code in codes, f"exit code {self.code} when expecting {expected}\n{self}"
        return self

    def json(self) -> Any:
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"standard output is no JSON: {error}\n{self}") from None

    def must_say(self, *parts: str) -> "Outcome":
        for part in parts:
            assert part.lower() in self.err.lower(), f"standard error does not say {part!r}\n{self}"
        return self

    def __str__(self) -> str:
        return (
            f"$ {' '.join(self.argv)}\n[exit code {self.code} after {self.seconds:.1f} s]\n"
            f"--- standard output\n{self.out}\n--- standard error\n{self.err}"
        )


async def run(argv: Sequence[str], environment: dict[str, str], *, stdin: bytes = b"", patience: float = 30) -> Outcome:
    """Runs a command to its end."""
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"still running after {patience} s: {' '.join(argv)}") from None
    seconds = time.monotonic() - begin
    return Outcome(list(argv), process.returncode, out.decode("utf-8"), err.decode("utf-8", "replace"), seconds)


async def eventually(condition: Callable[[], T], what: str, patience: float = 10) -> T:
    """Waits until the condition gives something true, and gives that."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        await asyncio.sleep(0.01)
    return found
