"""What some tests need of the system: processes in surroundings of their own, and a clear word where that is not to be had."""

import contextlib
import os
import random
import resource
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

WITHOUT_ROOT = "HEARTHGATE_TESTS_WITHOUT_ROOT"


def need(tool: str, package: str, root: bool = True) -> None:
    """Fails where a test cannot have what it needs; skips, in so many words, where that was said to be known."""
    missing = []
    if root and os.geteuid() != 0:
        missing.append("root (mounts and network namespaces of its own)")
    if not shutil.which(tool):
        missing.append(f"the program `{tool}` (Debian: {package})")
    if missing:
        text = f"this test needs {' and '.join(missing)}"
        if os.environ.get(WITHOUT_ROOT):
            pytest.skip(f"{text}; {WITHOUT_ROOT} is set")
        pytest.fail(f"{text}. Run it as root, or set {WITHOUT_ROOT}=1 to leave out what needs it", pytrace=False)


def limited(files: str) -> Sequence[str]:
    """Runs what follows with a limit of open files: `-Sn 64` lowers the soft one, `-n 64` both."""
    return ("sh", "-c", f'ulimit {files} && exec "$@"', "sh")


def own_mounts(script: str) -> Sequence[str]:
    """Runs what follows with mounts that nobody else sees and that end with it."""
    need("unshare", "util-linux")
    return ("unshare", "--mount", "sh", "-c", f'set -e; {script}; exec "$@"', "sh")


def killed_at(call: str, number: int) -> Sequence[str]:
    """Runs what follows and kills it, as `kill -9` does, when one of its threads makes that system call for the n-th
    time, before it is done."""
    need("strace", "strace", root=False)
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    # As a grandchild, so that the process that is started is the program itself.
    return ("strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)


def as_seen_by(pid: int, path: Path) -> Path:
    """A path within the mounts of a process."""
    return Path(f"/proc/{pid}/root{path}")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nothing listens on. For programs that cannot be asked which one they took.

    Where there are others, it is none of those that the system gives to whoever takes any: one of them could be given away
    before it is used, or while the program that used it starts again.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        with socket.socket(type=kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().randrange(10_000, first) if first > 12_000 else 0))
            return probe.getsockname()[1]
    raise AssertionError("no port is free")


def many_files(count: int) -> None:
    """Lets this process open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        assert hard >= count, f"this test needs {count} open files, the system's limit is {hard} (ulimit -Hn)"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that can be had again: HEARTHGATE_TEST_SEED is what a failed test printed."""
    seed = int(os.environ.get("HEARTHGATE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"{request.node.name}: HEARTHGATE_TEST_SEED={seed}")
    return random.Random(seed)
