"""The differential test: what `dvc add` does to a tree, and what this package does to the same.

Each example is a repository made twice from one description. One is given to `dvc add`, the
other to `ArtifactCache`, and again after each round of edits. `DVCLIVE_TEST_EXAMPLES` sets how
many examples are tried.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import stat
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, note, seed, settings
from hypothesis import strategies as st
from situations import git

from dvclive_dvc.errors import DvcLiveError
from dvclive_dvc.repo.cache import ArtifactCache
from dvclive_dvc.repo.crew import WORTH_IT
from dvclive_dvc.repo.objects import AT_ONCE

EXAMPLES = int(os.environ.get("DVCLIVE_TEST_EXAMPLES", "25"))
PARTS = 4  # so that several workers have a share of them


@dataclass(frozen=True)
class File:
    """A file of `size` bytes that differ by `seed`."""

    seed: int
    size: int
    executable: bool = False

    def content(self) -> bytes:
        return (f"{self.seed}\r\n" * (self.size // 2 + 1)).encode()[: self.size]


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


@dataclass(frozen=True)
class Anew:
    """A file that is made anew, as by a training script; None: taken away."""

    path: str
    file: File | None


@dataclass(frozen=True)
class Renamed:
    """A file that gets another name."""

    path: str
    to: str


@dataclass(frozen=True)
class Swapped:
    """Two files that change names."""

    path: str
    other: str


Edit = Anew | Renamed | Swapped


@dataclass(frozen=True)
class Case:
    """A repository with one thing to be added.

    folder: where in the repository it is.
    thing:  a file, or the entries of a folder by relative path (None: an empty sub-folder).
    rounds: what is edited before the second time it is added, the third, ...
    closed: whether another cache is opened for each of those, as in another process.
    jobs:   `core.checksum_jobs`.
    """

    folder: str
    name: str
    thing: File | Link | dict[str, File | Link | None]
    gitignore: bytes | None = None
    root_gitignore: bytes | None = None
    dvcignore: str = ""
    cache_type: str = ""
    shared: bool = False
    autostage: bool = False
    umask: int = 0o022
    pointer: str | None = None
    rounds: tuple[tuple[Edit, ...], ...] = ()
    closed: bool = False
    jobs: int | None = None


# A name DVC itself can track: `:` may look like a URL's scheme to it, and its own .gitignore
# rules for `\\` and trailing spaces do not match.
ODD = " #!-é[]()'\"&%~+,;=@{}日"
names = st.one_of(
    st.sampled_from(["a", "b", "data", "model.pt", "x.y.z", "-lead", "#hash", "!bang", " sp", "é"]),
    st.text(st.sampled_from("ab1._" + ODD), min_size=1, max_size=8),
).filter(
    lambda name: (
        name not in (".", "..")
        and not name.endswith((".dvc", " "))
        and name not in (".git", ".hg", ".dvcignore", ".gitignore", "dvc.yaml", "target")
    )
)
sizes = st.one_of(
    st.integers(0, 50),
    st.sampled_from([4095, 4096, 1 << 20, (1 << 20) + 1, 3_000_000]),
)
regular = st.builds(File, st.integers(0, 3), sizes, st.booleans())
links = st.builds(Link, st.sampled_from(["{top}/target", "{top}/target-folder"]))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@st.composite
def trees(draw):
    entries = draw(
        st.dictionaries(paths, st.one_of(regular, regular, links, st.none()), max_size=7)
    )
    kept = {}
    for path, entry in entries.items():
        # No entry below a file or link, none that another one is below.
        if not any(path.startswith(f"{o}/") or o.startswith(f"{path}/") for o in kept):
            kept[path] = entry
    return kept


ignores = st.one_of(
    st.none(),
    st.sampled_from(
        [
            b"", b"*.log\n", b"# a comment", b"*.tmp\r\n*.bak\r\n", b"/other\n\n",
            b"*.pt\n!model.pt\n", b"data\n", "é\n".encode(), b"a\r\n",
        ]
    ),
)  # fmt: skip
pointers = st.sampled_from(
    [
        None,
        "outs:\n- md5: d8acabbfd4ee51c95da5d7628c7ef74b\n  size: 3\n  hash: md5\n  path: NAME\n",
        (
            "# mine\nouts:\n- md5: d8acabbfd4ee51c95da5d7628c7ef74b\n  size: 3\n  hash: md5\n"
            "  path: NAME\n  desc: what it is  # why\n  remote: store\n  push: false\n"
            "meta:\n  k: [1, 2]\nfrozen: true\n"
        ),
        (
            "outs:\n- md5: d751713988987e9331980363e24189ce.dir\n  size: 0\n  nfiles: 0\n"
            "  hash: md5\n  path: NAME\n  type: model\n  labels:\n  - x\ndesc: all of it\n"
        ),
    ]
)


@st.composite
def edits(draw, thing):
    """Rounds of edits, each of what the one before left; one without any is an unchanged thing."""
    entries = thing if isinstance(thing, dict) else {"": thing}
    start = {path: entry for path, entry in entries.items() if isinstance(entry, File)}
    now, taken = dict(start), set(entries)
    kinds = ["new", "new", "same size", "back"]
    if isinstance(thing, dict):
        kinds += ["gone", "renamed", "swapped"]

    def edit():
        path = draw(st.sampled_from(sorted(now)))
        kind = draw(st.sampled_from(kinds))
        if kind == "renamed":
            to = "/".join((*path.split("/")[:-1], draw(names)))
            if not any(f"{to}/".startswith(f"{o}/") or o.startswith(f"{to}/") for o in taken):
                now[to] = now.pop(path)
                taken.add(to)
                return Renamed(path, to)
        if kind == "swapped":
            other = draw(st.sampled_from(sorted(now)))
            if other != path:
                now[path], now[other] = now[other], now[path]
                return Swapped(path, other)
        if kind == "gone":
            del now[path]
            return Anew(path, None)
        file = draw(regular)
        if kind == "back":
            file = start.get(path, file)
        elif kind == "same size":
            file = replace(now[path], seed=file.seed)
        now[path] = file
        return Anew(path, file)

    count = draw(st.sampled_from([0, 1, 1, 2, 3])) if now else 0
    return tuple(tuple(edit() for _ in range(draw(st.integers(0, 2))) if now) for _ in range(count))


@st.composite
def cases(draw):
    name = draw(names)
    thing = draw(st.one_of(regular, trees(), trees(), st.just(Link("{top}/target"))))
    plain = name.isascii() and name.isalpha()
    return Case(
        folder=draw(st.sampled_from(["", "sub", "sub/deep er"])),
        name=name,
        thing=thing,
        gitignore=draw(ignores),
        root_gitignore=draw(ignores),
        dvcignore=draw(st.sampled_from(["", "", "*.y.z\n", "b\n!data/b\n"])),
        cache_type=draw(st.sampled_from(["", "", "copy", "hardlink", "symlink", "hardlink,copy"])),
        shared=draw(st.booleans()),
        autostage=draw(st.booleans()),
        umask=draw(st.sampled_from([0o022, 0o002, 0o077])),
        pointer=draw(pointers) if plain else None,
        rounds=draw(edits(thing)),
        closed=draw(st.booleans()),
    )


@st.composite
def large_cases(draw):
    """A folder of so many files that other processes help; some of equal bytes, or empty."""
    count = draw(st.integers(WORTH_IT, WORTH_IT + 300))
    folders = draw(st.sampled_from([1, 7, 150]))
    contents = draw(st.sampled_from([40, count]))
    thing = {
        f"{at % folders}/{at}.txt": File(at % contents, 2 * (at % contents) ** 2 % 67)
        for at in range(count)
    }
    return Case(
        folder="",
        name="data",
        thing=thing,
        cache_type=draw(st.sampled_from(["", "copy", "hardlink", "hardlink,copy", "symlink"])),
        shared=draw(st.booleans()),
        umask=draw(st.sampled_from([0o022, 0o077])),
        rounds=draw(edits(thing)),
        closed=draw(st.booleans()),
        jobs=3,  # on a machine with one core too
    )


def put(path: Path, entry: File | Link | None, top: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry is None:
        path.mkdir(exist_ok=True)
    elif isinstance(entry, Link):
        path.symlink_to(entry.to.format(top=top))
    else:
        path.write_bytes(entry.content())
        path.chmod(0o755 if entry.executable else 0o644)


def _configure(file: Path, case: Case) -> None:
    with file.open("a") as config:
        if case.autostage or case.jobs:
            config.write("[core]\n")
        if case.autostage:
            config.write("    autostage = true\n")
        if case.jobs:
            config.write(f"    checksum_jobs = {case.jobs}\n")
        if case.cache_type or case.shared:
            config.write("[cache]\n")
        if case.cache_type:
            config.write(f"    type = {case.cache_type}\n")
        if case.shared:
            config.write("    shared = group\n")


class Built:
    """A repository made of a case."""

    def __init__(self, root: Path, template: Path, case: Case) -> None:
        shutil.copytree(template, root, symlinks=True)
        self.root = root
        aside = root.parent / "aside"
        if not aside.exists():
            aside.mkdir()
            (aside / "target").write_bytes(b"the link's target")
            (aside / "target-folder").mkdir()
            (aside / "target-folder" / "inner").write_bytes(b"inner")
        here = root / case.folder
        here.mkdir(parents=True, exist_ok=True)
        self.path = here / case.name
        self.top = aside
        if isinstance(case.thing, dict):
            self.path.mkdir()
            for relative, entry in case.thing.items():
                put(self.path / relative, entry, aside)
        else:
            put(self.path, case.thing, aside)
        if case.root_gitignore is not None:
            (root / ".gitignore").write_bytes(case.root_gitignore)
        if case.gitignore is not None:
            (here / ".gitignore").write_bytes(case.gitignore)
        if case.dvcignore:
            (root / ".dvcignore").write_text(case.dvcignore)
        _configure(root / ".dvc" / "config", case)
        self.pointer = here / f"{case.name}.dvc"
        if case.pointer is not None:
            self.pointer.write_text(case.pointer.replace("NAME", case.name))
        self.case = case
        self.shuffled = False

    def change(self, edit: Edit) -> None:
        """What happens between one adding and the next."""
        path = self.path / edit.path if edit.path else self.path
        if isinstance(edit, Renamed):
            path.rename(self.path / edit.to)
        elif isinstance(edit, Swapped):
            aside = self.root / "aside"
            path.rename(aside)
            (self.path / edit.other).rename(path)
            aside.rename(self.path / edit.other)
        else:
            # A link is not written through.
            path.unlink()
            if edit.file is not None:
                put(path, edit.file, self.top)

    def objects(self) -> dict[str, tuple[int, bytes]]:
        cache = self.root / ".dvc" / "cache" / "files" / "md5"
        return {
            path.relative_to(cache).as_posix(): (
                stat.S_IMODE(path.stat().st_mode),
                path.read_bytes(),
            )
            for path in cache.rglob("*")
            if path.is_file()
        }

    def workspace(self) -> dict[str, tuple]:
        found = {}
        for path in (
            [self.path, *sorted(self.path.rglob("*"))] if self.path.is_dir() else [self.path]
        ):
            status = path.lstat()
            is_link = path.is_symlink()
            where = str(path.readlink()).replace(str(self.root), "ROOT") if is_link else ""
            content = None if path.is_dir() else path.read_bytes()
            # `dvc add` writes a single file anew with the umask's mode; ours stays the user's file
            # with the user's mode. Whether it may be executed, or written to, is the same.
            mode = oct(status.st_mode & 0o300) if not path.is_dir() and not is_link else ""
            many = not path.is_dir() and not is_link and status.st_nlink > 1
            found[path.relative_to(self.root).as_posix()] = (where, mode, many, content)
        return found

    def any_of_equals(self) -> bool:
        """Whether which of files with equal bytes is the object is (or was) for no order to say.

        It is a hard link, and read-only, then; `dvc add` takes the last one. Files that several
        processes or threads cache come in any order.
        """
        files = [path for path in self.path.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        shared_out = len(files) >= WORTH_IT or size >= 8 * AT_ONCE
        self.shuffled |= shared_out and self.case.cache_type.startswith("hardlink")
        return self.shuffled

    def staged(self) -> set[str]:
        return set(git("ls-files", cwd=self.root).splitlines())

    def ignored(self) -> list[str]:
        """What Git ignores of all that is there, by its own word."""
        paths = [
            path.relative_to(self.root).as_posix()
            for path in sorted(self.root.rglob("*"))
            if not {".dvc", ".git"} & set(path.relative_to(self.root).parts)
        ]
        told = git(
            "check-ignore", "--stdin", "-z", "--no-index",
            cwd=self.root, check=False, input="\0".join(paths),
        )  # fmt: skip
        return sorted(filter(None, told.split("\0")))


def repo(root: Path):
    from dvc.repo import Repo

    return Repo(str(root))


def dvc_add(built: Built) -> str | None:
    """`dvc add`, in-process; the error's kind where there is one."""
    opened = repo(built.root)
    quiet = io.StringIO()
    before = Path.cwd()
    os.chdir(built.root)
    try:
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            opened.add(str(built.path), glob=False)
    except Exception as error:  # noqa: BLE001 - any of DVC's dozens
        return f"{type(error).__name__}: {error}"
    finally:
        os.chdir(before)
        opened.close()
    return None


def add(built: Built, cache: ArtifactCache) -> str | None:
    try:
        cache.add(built.path)
    except DvcLiveError as error:
        return f"{type(error).__name__}: {error}"
    return None


def status_of(root: Path) -> object:
    opened = repo(root)
    try:
        return opened.status()
    finally:
        opened.close()


def links_of(built: Built) -> dict[str, bool]:
    """What `dvc checkout` may take away, and whether it would find it untouched."""
    from dvc_data.hashfile.utils import get_mtime_and_size

    opened = repo(built.root)
    try:
        with opened.state.links as links:
            noted = {name: links[name] for name in links}
        found = {}
        for name, (inode, token) in noted.items():
            path = str(built.root / name)
            now = get_mtime_and_size(path, opened.fs, opened.dvcignore)[0]
            found[name] = (inode, token) == (os.lstat(path).st_ino, now)
        return found
    finally:
        opened.close()


def hashed_by_status(root: Path, monkeypatch) -> list[str]:
    """The files that a following `dvc status` reads to hash them."""
    from dvc_data.hashfile import hash as hashing

    seen: list[str] = []
    real = hashing.file_md5

    def noted(fname, *args, **kwargs):
        if not str(fname).startswith("memory:"):
            seen.append(str(fname))
        return real(fname, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "file_md5", noted)
        assert status_of(root) == {}, "`dvc status` is not clean"
    return [name for name in seen if not name.startswith("/dvc-")]


def pushed_and_pulled(built: Built, top: Path) -> dict[str, bytes]:
    """What a fresh clone holds after `dvc push` here and `dvc pull` there."""
    storage, clone = top / "storage", top / "clone"
    for place in (storage, clone):
        shutil.rmtree(place, ignore_errors=True)
    opened = repo(built.root)
    quiet = io.StringIO()
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        try:
            with opened.config.edit("local") as config:
                config["core"] = {"remote": "here"}
                config["remote"] = {"here": {"url": str(storage)}}
        finally:
            opened.close()
        opened = repo(built.root)
        try:
            opened.push()
        finally:
            opened.close()
        pointer = built.pointer.relative_to(built.root).as_posix()
        git("add", "-f", "--", f":(literal){pointer}", cwd=built.root)
        git("commit", "-qm", "pointer", cwd=built.root)
        git("clone", "-q", built.root, clone)
        shutil.copy(built.root / ".dvc" / "config.local", clone / ".dvc" / "config.local")
        there = repo(clone)
        try:
            there.pull()
        finally:
            there.close()
    path = clone / built.path.relative_to(built.root)
    if path.is_dir():
        return {
            p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()
        }
    return {"": path.read_bytes()}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An initialised repository, to be copied for each example."""
    root = tmp_path_factory.mktemp("template") / "repo"
    root.mkdir()
    return root


@pytest.mark.timeout(300 + 10 * EXAMPLES)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_same_tree_is_added_as_dvc_add_does(part, template, tmp_path_factory, monkeypatch):
    _tried(cases(), -(-EXAMPLES // PARTS), part, template, tmp_path_factory, monkeypatch)


@pytest.mark.timeout(300 + 10 * EXAMPLES)
def test_a_folder_of_thousands_is_added_as_dvc_add_does(template, tmp_path_factory, monkeypatch):
    _tried(large_cases(), -(-EXAMPLES // 64), PARTS, template, tmp_path_factory, monkeypatch)


def _tried(strategy, examples, part, template, tmp_path_factory, monkeypatch) -> None:
    if not (template / ".dvc").exists():
        _initialise(template)
    # Where the same examples are tried each time, each part has its own all the same.
    start = part if settings.default.derandomize else random.getrandbits(32)

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(case=strategy)
    def same(case):
        _compare(case, template, tmp_path_factory.mktemp("example"), monkeypatch)

    same()


def _compare(case: Case, template: Path, top: Path, monkeypatch) -> None:
    theirs = Built(top / "theirs", template, case)
    ours = Built(top / "ours", template, case)
    umask = os.umask(case.umask)
    cache = ArtifactCache(ours.root, ours.root)
    try:
        added = _same(theirs, ours, cache, monkeypatch, first=True)
        for edits_here in case.rounds if added else ():
            for edit in edits_here:
                theirs.change(edit)
                ours.change(edit)
            if case.closed:
                cache.close()
                cache = ArtifactCache(ours.root, ours.root)
            added = _same(theirs, ours, cache, monkeypatch, first=False)
    finally:
        cache.close()
        os.umask(umask)
    plain = case.cache_type == "" and not case.dvcignore and "frozen" not in (case.pointer or "")
    if added and plain:
        pulled = pushed_and_pulled(ours, top)
        assert pulled == pushed_and_pulled(theirs, top)
    shutil.rmtree(top)


def _same(theirs: Built, ours: Built, cache: ArtifactCache, monkeypatch, *, first: bool) -> bool:
    """Adds both and compares them; whether they were added rather than refused."""
    their_error, our_error = dvc_add(theirs), add(ours, cache)
    note(f"dvc add: {their_error}\nours: {our_error}")
    event("refused by both" if their_error else "added")
    assert bool(their_error) == bool(our_error), f"{their_error!r} against {our_error!r}"
    if their_error:
        return False
    if first and ours.case.pointer is None:
        assert ours.pointer.read_bytes() == theirs.pointer.read_bytes()
    else:
        assert parsed(ours.pointer) == parsed(theirs.pointer)
    assert ours.objects() == theirs.objects()
    mine, dvcs = ours.workspace(), theirs.workspace()
    if not ours.any_of_equals():
        assert mine == dvcs
    else:
        assert {name: entry[3] for name, entry in mine.items()} == {
            name: entry[3] for name, entry in dvcs.items()
        }
        if first:  # later it matters which of them was edited
            assert Counter(mine.values()) == Counter(dvcs.values())
    assert ours.ignored() == theirs.ignored()
    assert ours.staged() == theirs.staged(), "core.autostage"
    assert links_of(ours) == links_of(theirs), "what `dvc checkout` may take away"
    assert status_of(theirs.root) == {}
    assert hashed_by_status(ours.root, monkeypatch) == [], "`dvc status` had to hash again"
    return True


def parsed(path: Path) -> object:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path.read_text())


def _initialise(root: Path) -> None:
    from situations import dvc

    git("init", "-q", cwd=root)
    dvc("init", "-q", cwd=root)
    git("add", ".", cwd=root)
    git("commit", "-qm", "start", cwd=root)
