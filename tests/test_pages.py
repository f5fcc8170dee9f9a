"""The pages in docs/ that show commands: each is typed again, and must print what the page says.

In a page, a block after a line that ends in a file's name in backquotes and a colon is that
file's content (below "…:" with "add", it is appended). A `console` block holds commands after
`$ `, each followed by what it prints. `PAGES=write` in the environment writes what is printed
into the pages.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from situations import PROJECT, dvc_inside, run

_BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?P<verb>\w+)?[^\n]*`(?P<name>[^`\n]+)`:\n+\Z")


@dataclass(frozen=True)
class Typed:
    command: str
    printed: str


def typed(body):
    """The commands of a console block with what the page says they print."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    for part in parts:
        command, _, printed = part.partition("\n")
        yield Typed(command, printed.strip("\n"))


def printed_by(command):
    done = run(
        "sh", "-c", f"exec 2>&1; {command}", check=False, env={"PYTHONUNBUFFERED": "1"}
    )  # fmt: skip
    if command.startswith("dvc queue start"):
        deadline = time.monotonic() + 120
        while re.search("Queued|Running", dvc_inside("queue", "status")):
            assert time.monotonic() < deadline, "the queue does not end"
            time.sleep(0.5)
    # Blanks at a line's end are the tables', and no editor keeps them.
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def without_chance(text):
    """What differs from one time to the next made equal: hashes, places, the order of a set."""
    text = re.sub(r"\b[0-9a-f]{7,40}\b", "HASH", text)
    text = re.sub(
        r"(?m)(^\t.*\n)+", lambda m: "".join(sorted(m[0].splitlines(keepends=True))), text
    )
    return text.replace(str(Path.cwd()), "/home/you/project")


def replayed(page):
    """The page with what its commands print now, and the commands' differing outputs."""
    at, text, differing = 0, [], []
    for block in _BLOCK.finditer(page):
        text.append(page[at : block.start("body")])
        at = block.end("body")
        body = block["body"]
        file = _FILE.search(page[: block.start()])
        if block["kind"] == "console":
            fresh = []
            for one in typed(body):
                now = printed_by(one.command).replace(str(Path.cwd()), "/home/you/project")
                if without_chance(now) != without_chance(one.printed):
                    differing.append((one, now))
                else:
                    now = one.printed
                fresh.append(f"$ {one.command}\n{now}\n\n" if now else f"$ {one.command}\n")
            body = "".join(fresh).rstrip("\n") + "\n"
        elif file:
            target = Path(file["name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body)
        text.append(body)
    return "".join(text) + page[at:], differing


@pytest.mark.parametrize("name", ["pipelines.md"])
def test_a_page_prints_what_it_says(repos, name):
    repos.make("git_and_dvc")
    path = PROJECT / "docs" / name
    fresh, differing = replayed(path.read_text())
    if os.environ.get("PAGES") == "write":
        path.write_text(fresh)
        return
    assert not differing, "\n\n".join(
        f"$ {one.command}\n--- the page\n{one.printed}\n--- now\n{now}" for one, now in differing
    )


def test_a_page_that_is_no_longer_true_is_noticed(tmp_path):
    page = "Write `a.txt`:\n\n```text\nhello\n```\n\n```console\n$ cat a.txt\ngood-bye\n```\n"
    fresh, [(one, now)] = replayed(page)
    assert (one.command, one.printed, now) == ("cat a.txt", "good-bye", "hello")
    assert fresh == page.replace("good-bye", "hello")
    assert replayed(fresh)[1] == []
