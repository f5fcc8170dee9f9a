"""Rules that keep artifacts out of Git, judged by Git itself."""

from __future__ import annotations

import shutil
import time
from concurrent import futures
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from situations import git, run

from dvclive_dvc import files
from dvclive_dvc.errors import ArtifactConflictError, ArtifactError
from dvclive_dvc.repo.gitignore import GitView, line_for, with_line, without_line

if TYPE_CHECKING:
    from pathlib import Path

names = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\0\n"), min_size=1, max_size=12
).filter(lambda name: name not in (".", "..", ".git", ".gitignore") and not name.endswith("\r"))
lines = st.lists(
    st.sampled_from(
        [b"*.pt", b"!keep", b"# word", b"", b"/data", b"a b\\ ", b"\xff\xfe", b"x\ry", b"  "]
    ),
    max_size=6,
)
texts = st.builds(
    lambda parts, eol, last: eol.join(parts) + (eol if last else b""),
    lines, st.sampled_from([b"\n", b"\r\n"]), st.booleans(),
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    top = tmp_path / "repo"
    top.mkdir()
    git("init", "-q", cwd=top)
    return top


def ignored(root: Path, path: Path) -> bool:
    name = f"./{path.relative_to(root)}"
    command = ("git", "check-ignore", "--no-index", "-q", "--", name)
    done = run(*command, cwd=root, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


# -- text ------------------------------------------------------------------------------------


def test_a_line_is_anchored_and_escaped():
    assert line_for("model.pt") == b"/model.pt"
    assert line_for("#a") == b"/#a"
    assert line_for("!a") == b"/!a"
    assert line_for("a*b?c[d]\\e") == b"/a\\*b\\?c\\[d]\\\\e"
    assert line_for("a b  ") == b"/a b\\ \\ "
    assert line_for("é") == "/é".encode()


@pytest.mark.parametrize("name", ["a\nb", "a\n", "a\r"])
def test_a_name_that_no_rule_can_hold_is_refused(name):
    with pytest.raises(ArtifactError, match="line break"):
        line_for(name)


@given(texts, names)
def test_a_line_is_added_once_at_the_end_and_the_rest_stays(text, name):
    line = line_for(name)
    new = with_line(text, line)
    assert new.startswith(text)
    assert with_line(new, line) == new, "the line was added twice"
    assert new == text or new.endswith((line + b"\n", line + b"\r\n"))
    if new != text and text.endswith((b"\n", b"")):
        restored = without_line(new, line)
        assert restored in (text, text + b"\n", text + b"\r\n")


def test_the_line_ending_of_the_file_is_kept():
    assert with_line(b"a\r\nb\r\n", b"/m") == b"a\r\nb\r\n/m\r\n"
    assert with_line(b"a\nb\n", b"/m") == b"a\nb\n/m\n"
    assert with_line(b"", b"/m") == b"/m\n"


def test_a_missing_last_newline_is_mended():
    assert with_line(b"a", b"/m") == b"a\n/m\n"
    assert with_line(b"a\r\nb", b"/m") == b"a\r\nb\r\n/m\r\n"


def test_the_line_is_found_whatever_its_ending():
    assert with_line(b"/m\r\nx\r\n", b"/m") == b"/m\r\nx\r\n"
    assert with_line(b"x\n/m", b"/m") == b"x\n/m"


# -- Git's own word ----------------------------------------------------------------------------


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=names, text=texts, folder=st.sampled_from(["", "sub", "a b/c"]), isdir=st.booleans())
def test_git_ignores_that_path_and_no_other(root, name, text, folder, isdir):
    for old in root.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    here = root / folder
    here.mkdir(parents=True, exist_ok=True)
    path = here / name
    try:
        path.mkdir() if isdir else path.write_text("x")
    except OSError:  # a name that is too long for the file system
        return
    (here / ".gitignore").write_bytes(text)
    beside = [here / f"{name}{end}" for end in (".dvc", "x")]
    before = [ignored(root, other) for other in beside]
    was_ignored = ignored(root, path)
    view = GitView(root)
    edit = view.hide(path, isdir=isdir)
    assert ignored(root, path), "Git does not ignore the artifact"
    assert view.ignores(path, isdir=isdir)
    assert [ignored(root, other) for other in beside] == before, "another path is ignored as well"
    assert (edit is None) == was_ignored, "a line was added in vain, or none where one was due"
    assert view.hide(path, isdir=isdir) is None
    if edit is not None:
        edit.undo()
        assert (here / ".gitignore").read_bytes() == text
    view.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".gitignore", "*.pt\n"),
        (".gitignore", "sub/\n!sub/x\n"),
        ("sub/.gitignore", "model.pt\n"),
        (".git/info/exclude", "/sub/model.pt\n"),
    ],
)
def test_a_path_that_is_ignored_already_gets_no_line(root, name, content):
    path = root / "sub" / "model.pt"
    path.parent.mkdir()
    path.write_text("x")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(content)
    assert GitView(root).hide(path, isdir=False) is None
    assert (root / name).read_text() == content
    assert not (root / "sub" / ".gitignore").exists() or name == "sub/.gitignore"


def test_a_global_excludes_file_counts(root, home):
    (home / "excludes").write_text("*.pt\n")
    with (home / ".gitconfig").open("a") as config:
        config.write(f"[core]\n    excludesFile = {home}/excludes\n")
    path = root / "model.pt"
    path.write_text("x")
    assert ignored(root, path), "the situation is not what it should be"
    assert GitView(root).hide(path, isdir=False) is None
    assert not (root / ".gitignore").exists()


def test_a_folder_is_seen_to_be_ignored_by_a_rule_for_folders_alone(root):
    (root / "data").mkdir()
    (root / ".gitignore").write_text("data/\n")
    assert GitView(root).hide(root / "data", isdir=True) is None


@pytest.mark.parametrize(
    ("rules", "end"),
    [
        ("/model.pt\n!*.pt\n", ""),
        ("/model.pt\r\n!model.pt", "\r\n"),
        ("/model.pt\n!/model.pt\n# word\n\n", ""),
    ],
)
def test_a_rule_that_a_later_one_takes_back_is_added_once_at_the_end(root, caplog, rules, end):
    path, target = root / "model.pt", root / ".gitignore"
    path.write_text("x")
    target.write_bytes(rules.encode())
    eol = "\r\n" if "\r\n" in rules else "\n"
    for number in range(3):
        edit = GitView(root).hide(path, isdir=False)
        assert (edit is None) == (number > 0), "it is added each time"
        assert target.read_bytes().decode() == f"{rules}{end}/model.pt{eol}"
        assert ignored(root, path), "Git would have the data"
    assert not caplog.records, caplog.text


def test_that_a_rule_does_not_help_is_told_once_and_it_is_not_added_again(
    root, caplog, monkeypatch
):
    path, target = root / "model.pt", root / ".gitignore"
    path.write_text("x")
    target.write_text("/model.pt\n# word\n")
    # No rule comes after the last one of the nearest file; Git would have to be another.
    monkeypatch.setattr(GitView, "ignores", lambda *_, **__: False)
    monkeypatch.setattr(GitView, "_check_ignore", lambda *_: "")
    view = GitView(root)
    for _ in range(2):
        assert view.hide(path, isdir=False) is None
    assert target.read_text() == "/model.pt\n# word\n"
    [record] = caplog.records
    assert "Git does not ignore 'model.pt'" in record.getMessage()


@pytest.mark.parametrize("rules", ["", "/model.pt\n", "!*.pt\n", "*.dvc\n"])
def test_nothing_is_written_through_a_link_that_git_does_not_follow_and_it_is_told(
    root, caplog, rules
):
    path = root / "model.pt"
    path.write_text("x")
    (root / "shared").write_text(rules)
    (root / ".gitignore").symlink_to("shared")
    assert not ignored(root, path), "the situation is not what it should be"
    view = GitView(root)
    for _ in range(2):
        view.check(path, root / "model.pt.dvc", isdir=False)
        assert view.hide(path, isdir=False) is None
    assert (root / "shared").read_text() == rules, "the user's other file was changed"
    assert (root / ".gitignore").is_symlink()
    [record] = caplog.records
    text = record.getMessage()
    assert "Git does not ignore 'model.pt'" in text
    assert "symbolic link" in text
    (root / ".gitignore").unlink()
    (root / ".gitignore").write_text(text.split("`")[1])
    assert ignored(root, path), "the advice does not help"


def test_a_link_for_a_gitignore_does_not_matter_where_another_rule_ignores_the_path(root, caplog):
    path = root / "model.pt"
    path.write_text("x")
    (root / "shared").write_text("!*.pt\n")
    (root / ".gitignore").symlink_to("shared")
    (root / ".git" / "info" / "exclude").write_text("*.pt\n")
    assert ignored(root, path), "the situation is not what it should be"
    assert GitView(root).hide(path, isdir=False) is None
    assert not caplog.records, caplog.text


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["*.dvc", "model.*", "/model.pt.dvc"])
def test_a_rule_that_would_hide_the_pointer_is_named(root, rule):
    path = root / "model.pt"
    path.write_text("x")
    (root / ".gitignore").write_text(f"# first\n{rule}\n")
    with pytest.raises(ArtifactError, match="Git ignores") as caught:
        GitView(root).check(path, root / "model.pt.dvc", isdir=False)
    assert f".gitignore:2:{rule}" in str(caught.value)


def test_a_pointer_in_an_ignored_folder_is_refused_with_the_folders_rule(root):
    path = root / "out" / "model.pt"
    path.parent.mkdir()
    path.write_text("x")
    (root / ".gitignore").write_text("out/\n")
    with pytest.raises(ArtifactError, match="copy=True") as caught:
        GitView(root).check(path, root / "out" / "model.pt.dvc", isdir=False)
    assert ".gitignore:1:out/" in str(caught.value)


RULES = st.lists(
    st.sampled_from(
        [
            "data/", "data", "/data/*", "data/**", "sub/", "*", "**", "*.dvc", "**/x.pt", "x.pt\t",
            "!data/", "!*/", "!*.dvc", "!data/*.dvc", "!data/**/*.dvc", "!x.pt.dvc", "!data/sub/",
        ]
    ),
    max_size=4,
)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rules=RULES, inner=RULES)
def test_a_pointer_is_taken_for_ignored_where_git_does(root, rules, inner):
    (root / "data" / "sub").mkdir(parents=True, exist_ok=True)
    (root / ".gitignore").write_text("\n".join(rules) + "\n")
    (root / "data" / ".gitignore").write_text("\n".join(inner) + "\n")
    view = GitView(root)
    for folder in (root, root / "data", root / "data" / "sub"):
        pointer = folder / "x.pt.dvc"
        assert view.ignores(pointer) == ignored(root, pointer), (pointer, rules, inner)
    view.close()


def test_a_pointer_below_an_ignored_folder_is_refused_though_a_later_rule_takes_it_back(root):
    path = root / "data" / "model.pt"
    path.parent.mkdir()
    path.write_text("x")
    (root / ".gitignore").write_text("data/\n!*.dvc\n")
    with pytest.raises(ArtifactError) as caught:
        GitView(root).check(path, root / "data" / "model.pt.dvc", isdir=False)
    text = str(caught.value)
    assert ".gitignore:1:data/" in text
    assert "`!model.pt.dvc`" not in text, "that would not help"
    assert "to `data/*`, with `!data/*.dvc`" in text
    (root / ".gitignore").write_text("data/*\n!data/*.dvc\n")
    GitView(root).check(path, root / "data" / "model.pt.dvc", isdir=False)


def test_a_rule_that_ends_in_a_tab_is_one_for_another_name(root):
    path = root / "model.pt"
    path.write_text("x")
    (root / ".gitignore").write_text("model.pt\t\n")
    assert GitView(root).hide(path, isdir=False) is not None
    assert ignored(root, path), "Git would have the data"


@pytest.mark.parametrize("name", ["model.pt", "-lead", "a*b", "é", "sub folder/x"])
def test_a_file_that_git_tracks_is_refused_with_the_way_out(root, name):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    git("add", "--", f":(literal){name}", cwd=root)
    view = GitView(root)
    with pytest.raises(ArtifactConflictError, match="git rm --cached") as caught:
        view.check(path, path.with_name(f"{path.name}.dvc"), isdir=False)
    assert name in str(caught.value)
    git("rm", "-q", "--cached", "--", f":(literal){name}", cwd=root)
    view.check(path, path.with_name(f"{path.name}.dvc"), isdir=False)


def test_a_folder_with_tracked_files_is_refused_and_its_namesakes_are_not(root):
    for name in ("data/deep/x", "data.txt/y", "data-2/z", "dat/a"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("x")
    git("add", "data.txt", "data-2", "dat", cwd=root)
    view = GitView(root)
    view.check(root / "data", root / "data.dvc", isdir=True)
    git("add", "data/deep/x", cwd=root)
    with pytest.raises(ArtifactConflictError, match="git rm -r --cached"):
        view.check(root / "data", root / "data.dvc", isdir=True)


@pytest.mark.parametrize("situation", ["sparse_index", "split_index", "index_version_4"])
def test_an_index_that_libgit2_may_not_read_is_asked_of_git(repos, situation):
    made = repos.make(situation)
    tracked = made.git("ls-files", "-z", "--cached", "--", "*.py").split("\0")[0]
    view = GitView(made.root)
    assert view.tracks(made.root / tracked)
    assert not view.tracks(made.root / "no such file")


def test_the_index_is_parsed_once_and_again_only_when_it_changed(root):
    path = root / "model.pt"
    path.write_text("x")
    view = GitView(root)
    assert not view.tracks(path)
    git("add", "model.pt", cwd=root)
    assert view.tracks(path), "a change of the index was not seen"


# -- undoing ---------------------------------------------------------------------------------------


def test_undoing_takes_away_a_file_it_made(root):
    path = root / "model.pt"
    path.write_text("x")
    edit = GitView(root).hide(path, isdir=False)
    edit.undo()
    assert not (root / ".gitignore").exists()


def test_undoing_keeps_what_another_run_added_meanwhile(root):
    view = GitView(root)
    for name in ("a", "b"):
        (root / name).write_text("x")
    first = view.hide(root / "a", isdir=False)
    view.hide(root / "b", isdir=False)
    first.undo()
    assert (root / ".gitignore").read_bytes() == b"/b\n"


def test_a_gitignore_that_cannot_be_written_is_left_alone(root):
    path = root / "model.pt"
    path.write_text("x")
    (root / ".gitignore").mkdir()
    with pytest.raises(OSError, match="directory"):
        GitView(root).hide(path, isdir=False)
    assert list((root / ".gitignore").iterdir()) == []


def test_a_line_that_another_run_writes_meanwhile_is_no_reason_to_warn(root, caplog):
    path, target = root / "model.pt", root / ".gitignore"
    path.write_text("weights")
    with futures.ThreadPoolExecutor() as pool:
        with files.locked(target):
            waiting = pool.submit(GitView(root).hide, path, isdir=False)
            time.sleep(0.5)  # it has seen that nothing ignores the path, and waits
            target.write_bytes(b"/model.pt\n")
        assert waiting.result(10) is None, "there was nothing left to write"
    assert not caplog.records, "a rule is blamed that is not there"
