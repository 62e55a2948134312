"""Prints the newest Python of this machine that the pinned Home Assistant takes. Runs on any Python 3."""

import glob
import os
import shutil
import subprocess
import sys

WANTED = (3, 13)  # the pinned version takes no older one, and its packages have no wheels for newer ones


def version(path):
    """None for a shim of a version that is not chosen, and for all else that does not run."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
    try:
        ran = subprocess.run([path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
        return tuple(map(int, ran.stdout.split())) if ran.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None


def main():
    name = "python%d.%d" % WANTED
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    paths = glob.glob(os.path.join(pyenv, "versions", "*", "bin", name))
    paths += [path for path in (shutil.which(name), shutil.which("python3"), sys.executable) if path]
    found = [(v, path) for path in paths for v in [version(path)] if v and v[:2] == WANTED]
    if not found:
        sys.exit("no %s here: Home Assistant needs it (Debian: apt-get install %s-venv; or pyenv install %d.%d)" % ((name, name) + WANTED))
    print(max(found)[1])


if __name__ == "__main__":
    main()
