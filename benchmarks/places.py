"""The places that rows are measured in: repositories and data of a given size."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .measure import Bench

_AN_HOUR = 3600


def repository(bench: Bench, place: Path, *, files: int = 0, outputs: int = 0) -> None:
    """A Git and DVC repository with so many tracked files and DVC outputs, one file dirty."""
    bench.run("git", "init", "-q", cwd=place)
    bench.dvc("init", "-q", cwd=place)
    (place / "train.py").write_text("EPOCHS = 1\n")
    tracked_files(place / "src", files)
    if outputs:
        dvc_outputs(bench, place, outputs)
    _age(place)
    bench.run("git", "add", "--all", cwd=place)
    bench.run("git", "commit", "-q", "-m", "start", cwd=place)
    (place / "train.py").write_text("EPOCHS = 2\n")


def tracked_files(folder: Path, count: int) -> None:
    """Small source files, a hundred in a folder."""
    for number in range(count):
        if number % 100 == 0:
            part = folder / f"part_{number // 100:04}"
            part.mkdir(parents=True)
        (part / f"module_{number:06}.py").write_text(f'"""Module."""\n\nVALUE = {number}\n' * 4)


def dvc_outputs(bench: Bench, place: Path, count: int) -> None:
    """Small files that a `.dvc` file each tracks."""
    folder = place / "data"
    folder.mkdir()
    names = [f"data/out_{number:05}.bin" for number in range(count)]
    for name in names:
        (place / name).write_bytes(name.encode() * 20)
    _age(folder)
    bench.dvc("add", "-q", *names, cwd=place)


def pointer_files(place: Path, count: int) -> None:
    """`.dvc` files alone, as a colleague's clone has them before `dvc pull`."""
    folder = place / "others"
    for number in range(count):
        part = folder / f"part_{number // 100:03}"
        part.mkdir(parents=True, exist_ok=True)
        name = f"data_{number:05}.bin"
        md5 = hashlib.md5(name.encode()).hexdigest()
        (part / f"{name}.dvc").write_text(
            f"outs:\n- md5: {md5}\n  size: 100\n  hash: md5\n  path: {name}\n"
        )


def experiments(bench: Bench, place: Path, count: int) -> None:
    """So many experiments on HEAD, as loose refs."""
    head = bench.run("git", "rev-parse", "HEAD", cwd=place).strip()
    folder = f"refs/exps/{head[:2]}/{head[2:]}"
    lines = "".join(f"create {folder}/earlier-{number:05} {head}\n" for number in range(count))
    bench.run("git", "update-ref", "--stdin", cwd=place, stdin=lines)


def forget_run(bench: Bench, place: Path, *folders: str) -> None:
    """Takes a run's results away, so that the next contender finds what this one found."""
    for folder in folders or ("dvclive",):
        shutil.rmtree(place / folder, ignore_errors=True)
    listing = bench.run("git", "for-each-ref", "--format=delete %(refname)", "refs/exps", cwd=place)
    new = "\n".join(line for line in listing.splitlines() if "/earlier-" not in line)
    if new:
        bench.run("git", "update-ref", "--stdin", cwd=place, stdin=new + "\n")


def experiments_there(bench: Bench, place: Path) -> int:
    """How many experiments the repository holds, not counting those it was made with."""
    names = bench.run("git", "for-each-ref", "--format=%(refname)", "refs/exps", cwd=place)
    return sum(1 for name in names.splitlines() if "/earlier-" not in name and name.count("/") == 4)


def big_file(path: Path, megabytes: int) -> None:
    """A file of bytes that do not repeat."""
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))


def folder_of_files(folder: Path, count: int, size: int) -> None:
    """So many files of so many bytes, a thousand in a folder."""
    for number in range(count):
        part = folder / f"part_{number // 1000:03}"
        if number % 1000 == 0:
            part.mkdir(parents=True)
        (part / f"{number:06}.bin").write_bytes(os.urandom(size))


def _age(folder: Path) -> None:
    # Git hashes again what is as young as its index, and DVC what is younger than a moment.
    then = time.time() - _AN_HOUR
    for root, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in names:
            os.utime(os.path.join(root, name), (then, then))
