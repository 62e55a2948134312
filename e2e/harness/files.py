"""The files that the program reads: keys and device profiles."""

import json
from pathlib import Path

from reference.profiles import Profile

KEY_TEXT = "k9Xq2m z7L~T4vRb"
WRONG_KEY_TEXT = "another key here"


def write_key(path: Path, text: str, ending: str = "\n") -> Path:
    """Writes or replaces a key at one stroke: a program that reads it meanwhile sees the one or the other."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes((text + ending).encode())
    draft.chmod(0o600)
    return draft.replace(path)


def write_profiles(folder: Path, devices: list[Profile]) -> Path:
    folder.mkdir(exist_ok=True)
    for device in devices:
        write_profile(folder, device)
    return folder


def write_profile(folder: Path, device: Profile) -> Path:
    """Writes or replaces a profile at one stroke, as careful programs do."""
    path = folder / f"{device['devid']}.json"
    draft = folder.parent / f"{path.name}.draft"
    draft.write_text(json.dumps(device, ensure_ascii=False, indent=1), encoding="utf-8")
    return draft.replace(path)
