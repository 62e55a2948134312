"""Fixtures: a gateway of the program, its commands, and tests that are coroutines."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import program
from harness.files import KEY_TEXT, write_key, write_profiles
from harness.program import Outcome, Running, RunningGateway
from reference import crypto, profiles, wire
from reference.crypto import Options
from reference.profiles import Profile

def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `options` runs in all three wire encodings."""
    if "options" in metafunc.fixturenames:
        metafunc.parametrize("options", [Options(wire=name) for name in wire.WIRES], ids=wire.WIRES)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    marker = pyfuncitem.get_closest_marker("deadline")
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(within(marker.args[0] if marker else 60, pyfuncitem.obj(**arguments)))
    return True


async def within(seconds: float, test: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "setup":
        return report
    if report.failed:
        for running in Running.everything:
            report.sections.append(("a process of this test", running.story()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    Running.everything.clear()
    return (yield)


@pytest.fixture(scope="session")
def hearthgate() -> str:
    """The program under test."""
    return str(program.binary())


@pytest.fixture
def key() -> bytes:
    return crypto.parse_key(KEY_TEXT)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return program.clean_environment(tmp_path / "home")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_key(tmp_path / "device.key", KEY_TEXT)


@pytest.fixture
def spawn(hearthgate: str, environment: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Starts the program in the background, and ends it with the test."""
    started: list[Running] = []

    def start(*arguments: str | Path, stdin: bytes | None = None, **more: str) -> Running:
        argv = [hearthgate, *map(str, arguments)]
        started.append(Running(argv, environment | more, stdin=stdin))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def start_gateway(
    spawn: Callable[..., Running], key_file: Path, tmp_path: Path
) -> Callable[..., RunningGateway]:
    """Starts a gateway with these devices (all of the reference's own unless told) and waits until it listens."""
    folder = tmp_path / "devices"

    def start(
        devices: list[Profile] | Path | None = None, options: Options = Options(), *flags: str,
        also: tuple[Path, ...] = (), key_text: str = KEY_TEXT, state: str | Path = "none", advertise: tuple[str, ...] = ("--no-advertise",),
    ) -> RunningGateway:  # fmt: skip
        if isinstance(devices, Path):
            served = devices
        else:
            served = folder
            write_profiles(folder, profiles.home() if devices is None else devices)
        process = spawn(
            "gateway", "--listen", "127.0.0.1:0", "--devices", served, *also,
            "--key-file", write_key(key_file, key_text), "--state", state, *advertise, *program.variant_flags(options), *flags,
        )  # fmt: skip
        found = process.wait_for_log(program.LISTENS)
        older = "2023" in flags
        key = bytes(16) if older else crypto.parse_key(key_text, options.key_form)
        return RunningGateway(process, found[1], int(found[2]), key, options, served, "wss://" in found[0])

    return start


@pytest.fixture
def gateway(start_gateway: Callable[..., RunningGateway]) -> RunningGateway:
    """A gateway with the reference's own devices and the default wire encoding."""
    return start_gateway()


@pytest.fixture
def run(hearthgate: str, environment: dict[str, str]) -> Callable[..., Awaitable[Outcome]]:
    """Runs the program to its end."""

    async def start(*arguments: str | Path, stdin: bytes = b"", patience: float = 30, **more: str) -> Outcome:
        argv = [hearthgate, *map(str, arguments)]
        return await program.run(argv, environment | more, stdin=stdin, patience=patience)

    return start


@pytest.fixture
def command(run: Callable[..., Awaitable[Outcome]], key_file: Path) -> Callable[..., Awaitable[Outcome]]:
    """Runs one of the client's commands against a gateway: `command(url, "set", "0a11", "switch_1=on")`."""

    async def start(url: str, name: str, *arguments: str, key: str | None = KEY_TEXT, **more: Any) -> Outcome:
        keyed = ["--key-file", str(key_file)] if key is not None else []
        if key is not None:
            write_key(key_file, key)
        timeout = [] if "--timeout" in arguments else ["--timeout", "5s"]
        return await run(name, *arguments, "--gateway", url, *keyed, *timeout, **more)

    return start
