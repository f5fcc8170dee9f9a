"""The differential test: what `dvc add` does to a tree, and what this package does to the same.

Each example is a repository made twice from one description. One is given to `dvc add`, the
other to `ArtifactCache`. `DVCLIVE_TEST_EXAMPLES` sets how many examples are tried.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, note, seed, settings
from hypothesis import strategies as st
from situations import git

from dvclive_dvc.errors import DvcLiveError
from dvclive_dvc.repo.cache import ArtifactCache

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
class Case:
    """A repository with one thing to be added.

    folder: where in the repository it is.
    thing:  a file, or the entries of a folder by relative path (None: an empty sub-folder).
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
    again: dict[str, File | None] = field(default_factory=dict)


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
def cases(draw):
    name = draw(names)
    thing = draw(st.one_of(regular, trees(), trees(), st.just(Link("{top}/target"))))
    again = {}
    if isinstance(thing, dict) and draw(st.booleans()):
        files = [path for path, entry in thing.items() if isinstance(entry, File)]
        again = {path: draw(st.one_of(st.none(), regular)) for path in files[:2]}
    elif isinstance(thing, File) and draw(st.booleans()):
        again = {"": draw(regular)}
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
        again=again,
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
        if case.autostage:
            config.write("[core]\n    autostage = true\n")
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

    def change(self) -> None:
        """What happens between the first adding and the second."""
        for relative, entry in self.case.again.items():
            path = self.path / relative if relative else self.path
            # As a training script that makes its file anew; a link is not written through.
            path.unlink()
            if entry is not None:
                put(path, entry, self.top)

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


def links_of(built: Built) -> dict:
    opened = repo(built.root)
    try:
        with opened.state.links as links:
            return {name: links[name][0] for name in links}
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
    if not (template / ".dvc").exists():
        _initialise(template)
    # Where the same examples are tried each time, each part has its own all the same.
    start = part if settings.default.derandomize else random.getrandbits(32)

    @seed(start)
    @settings(
        max_examples=-(-EXAMPLES // PARTS),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(case=cases())
    def same(case):
        _compare(case, template, tmp_path_factory.mktemp("example"), monkeypatch)

    same()


def _compare(case: Case, template: Path, top: Path, monkeypatch) -> None:
    theirs = Built(top / "theirs", template, case)
    ours = Built(top / "ours", template, case)
    git_root = ours.root
    umask = os.umask(case.umask)
    cache = ArtifactCache(ours.root, git_root)
    try:
        added = _same(theirs, ours, cache, fresh=case.pointer is None)
        if case.again and theirs.pointer.exists() and ours.pointer.exists():
            theirs.change()
            ours.change()
            added = _same(theirs, ours, cache, fresh=False)
    finally:
        cache.close()
        os.umask(umask)
    # What both refused may have a pointer from before, of a path that DVC itself refuses to read.
    if added and ours.pointer.exists():
        assert hashed_by_status(ours.root, monkeypatch) == [], "`dvc status` had to hash again"
        if case.cache_type == "" and not case.dvcignore and "frozen" not in (case.pointer or ""):
            pulled = pushed_and_pulled(ours, top)
            assert pulled == pushed_and_pulled(theirs, top)
    shutil.rmtree(top)


def _same(theirs: Built, ours: Built, cache: ArtifactCache, *, fresh: bool) -> bool:
    """Adds both and compares them; whether they were added rather than refused."""
    their_error, our_error = dvc_add(theirs), add(ours, cache)
    note(f"dvc add: {their_error}\nours: {our_error}")
    event("refused by both" if their_error else "added")
    assert bool(their_error) == bool(our_error), f"{their_error!r} against {our_error!r}"
    if their_error:
        return False
    if fresh:
        assert ours.pointer.read_bytes() == theirs.pointer.read_bytes()
    else:
        assert parsed(ours.pointer) == parsed(theirs.pointer)
    assert ours.objects() == theirs.objects()
    assert ours.workspace() == theirs.workspace()
    assert ours.ignored() == theirs.ignored()
    assert ours.staged() == theirs.staged(), "core.autostage"
    assert links_of(ours).keys() == links_of(theirs).keys(), "what `dvc checkout` may take away"
    assert status_of(ours.root) == status_of(theirs.root) == {}
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
