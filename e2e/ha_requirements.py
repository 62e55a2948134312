"""Prints what the integrations that the tests use need: Home Assistant would install that when it starts, without asking."""

import importlib.util
import json
from pathlib import Path

USED = ["mqtt", "automation", "config", "websocket_api", "api", "frontend"]


def manifest(folder: Path, integration: str) -> dict:
    return json.loads((folder / integration / "manifest.json").read_text())


def main() -> None:
    spec = importlib.util.find_spec("homeassistant.components")
    folder = Path(next(iter(spec.submodule_search_locations)))
    todo, seen, needed = list(USED), set(), set()
    while todo:
        integration = todo.pop()
        if integration in seen:
            continue
        seen.add(integration)
        found = manifest(folder, integration)
        todo += found.get("dependencies", [])
        needed |= set(found.get("requirements", []))
    print("\n".join(sorted(needed)))


if __name__ == "__main__":
    main()
