"""The tests that docs/internals.md names are there: a promise without its test would be one in words only."""

import re

from harness.program import ROOT

SOURCES = [*ROOT.glob("crates/**/*.rs"), *ROOT.glob("e2e/tests/*.py")]


def named():
    """What stands in backquotes in the paragraphs about tests: files, and tests."""
    text = (ROOT / "docs" / "internals.md").read_text()
    for paragraph in re.findall(r"^Tests: .*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        for quoted in re.findall(r"`([^`]+)`", paragraph):
            file, _, test = quoted.rpartition(": ") if ": " in quoted else (quoted, "", "") if "." in quoted else ("", "", quoted)
            yield file, test


def test_every_test_that_the_promises_name_is_there():
    contents = {path: path.read_text() for path in SOURCES}
    wrong, found = [], 0
    for file, test in named():
        if test == "plain":
            continue
        found += 1
        files = {path: text for path, text in contents.items() if not file or path.match(file)}
        if not any(not test or re.search(rf"\b(fn|def) (test_)?{test}\(", text) for text in files.values()):
            wrong.append(f"{file}: {test}")
    assert not wrong
    assert found > 30
