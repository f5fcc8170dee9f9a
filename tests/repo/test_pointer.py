"""The text of pointer files."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dvclive_dvc.errors import ArtifactConflictError, ArtifactError
from dvclive_dvc.repo import pointer

A, B = "a" * 32, "0f" * 16


@dataclass(frozen=True)
class Content:
    md5: str = A
    size: int = 3
    nfiles: int | None = None
    isexec: bool = False


FILE = Content()
FOLDER = Content(B + ".dir", 30, 2)


def as_dvc_dumps(name: str, content: Content) -> str:
    """What DVC's own serializer makes of the same values (dvc/utils/serialize/_yaml.py)."""
    from dvc.utils.serialize import dumps_yaml

    out: dict = {"md5": content.md5, "size": content.size}
    if content.nfiles is not None:
        out["nfiles"] = content.nfiles
    if content.isexec:
        out["isexec"] = True
    return dumps_yaml({"outs": [{**out, "hash": "md5", "path": name}]})


ODD = (
    "null Yes on 1 1.5 1e3 0x1f ~ - 2020-01-01 .hidden model.pt * &a !t é % @x = <<".split()  # noqa: SIM905 - shorter than a list
)
names = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1),
    st.sampled_from([*ODD, "- a", "a: b", "a #b", "x" * 200, "a b " * 40]),
)
digests = st.one_of(
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.sampled_from(["0" * 32, "1" * 16 + "e" + "1" * 15, "1" * 31 + "e", "12345678" * 4]),
)
contents = st.builds(
    Content, digests, st.integers(0, 10**15), st.none() | st.integers(0, 10**7), st.booleans()
).map(lambda c: c if c.nfiles is None else Content(c.md5 + ".dir", c.size, c.nfiles))


@given(names, contents)
def test_a_fresh_one_is_what_dvc_would_write_byte_for_byte(name, content):
    assert pointer.fresh(name, content) == as_dvc_dumps(name, content)


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ArtifactError, match="UTF-8"):
        pointer.fresh("caf\udce9", FILE)


@given(names, contents, contents)
def test_an_update_of_a_fresh_one_is_a_fresh_one(name, before, after):
    text = pointer.updated(pointer.fresh(name, before), name, after)
    loaded = YAML(typ="safe").load(text)
    assert loaded == YAML(typ="safe").load(pointer.fresh(name, after))
    assert pointer.updated(text, name, after) == text, "the second update changed something"


RICH = f"""\
# what this is
frozen: true   # on purpose
outs:
- md5: {A}   # the hash
  size: 3

  # a word on the hash
  hash: md5
  path: m.pt
  desc: "a  long,   {"long " * 40}text"
  type: model
  labels: [x,   y]
  meta:
    k: {{a:   1}}
  remote: store
  push: false
unknown:   [1,  2]
meta: {{q: 1}}
"""


def test_all_that_is_not_the_content_stays_byte_for_byte():
    text = pointer.updated(RICH, "m.pt", Content(B, 77))
    assert text == RICH.replace(A, B).replace("size: 3", "size: 77")


def test_nothing_is_written_anew_when_the_content_is_the_same():
    assert pointer.updated(RICH, "m.pt", FILE) is RICH


def test_line_endings_and_a_missing_last_newline_stay():
    crlf = RICH.replace("\n", "\r\n").removesuffix("\r\n")
    text = pointer.updated(crlf, "m.pt", Content(B, 77))
    assert text == crlf.replace(A, B).replace("size: 3", "size: 77")


def test_a_file_that_became_a_folder_gains_its_number_of_files_and_back():
    text = pointer.updated(RICH, "m.pt", FOLDER)
    assert "  nfiles: 2\n  path: m.pt\n" in text
    out = YAML(typ="safe").load(text)["outs"][0]
    assert (out["md5"], out["size"], out["nfiles"]) == (FOLDER.md5, 30, 2)
    assert pointer.updated(text, "m.pt", FILE) == RICH, "the way back leaves traces"


def test_an_executable_file_is_said_to_be_one_and_no_longer():
    text = pointer.updated(RICH, "m.pt", Content(isexec=True))
    assert "isexec: true" in text
    assert pointer.updated(text, "m.pt", FILE) == RICH


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("gone", ["isexec: true", "nfiles: 2\n  isexec: true", "isexec: true # x"])
@pytest.mark.parametrize("desc", ["'é'", '"é" # so'])
def test_what_follows_the_dash_may_go_and_the_rest_stays(eol, gone, desc):
    text = f"# é\nouts:\n- {{}}md5: {A}\n  size: 3\n  hash: md5\n  path: m.pt\n  desc: {desc}\n"
    text = text.replace("\n", eol)
    new = pointer.updated(text.format(f"{gone}\n  ".replace("\n", eol)), "m.pt", Content(B))
    assert new.count("\n") == new.count(eol), "the line endings are mixed"
    assert YAML(typ="safe").load(new) == YAML(typ="safe").load(text.format("").replace(A, B))
    if "#" not in gone:
        assert new == text.format("").replace(A, B), "the user's own lines changed"


@pytest.mark.parametrize("text", ["", "\n\n", "\t", "# mine\n", "# mine", "# mine\r\n\r\n"])
def test_an_empty_one_is_filled(text):
    pointer.check(text, "m.pt")
    new = pointer.updated(text, "m.pt", FILE)
    assert new.startswith(text.strip()), "the comment is lost"
    assert YAML(typ="safe").load(new) == YAML(typ="safe").load(pointer.fresh("m.pt", FILE))
    assert new.count("\r\n") in (0, new.count("\n")), "the line endings are mixed"
    assert pointer.updated(new, "m.pt", FILE) == new


@pytest.mark.parametrize("key", ["md5: {}", 'md5: "{}"', "md5:   {} # old", "'md5': {}"])
def test_the_checksum_of_an_import_is_brought_up_to_date_however_it_is_written(key):
    rest = f"frozen: true\ndeps:\n- path: x\nouts:\n- md5: {B}\n  path: m.pt\n"
    text = f"{key.format(A)}\n{rest}"
    new = pointer.updated(text, "m.pt", FILE)
    checksum = YAML(typ="safe").load(new)["md5"]
    usual = YAML(typ="safe").load(pointer.updated(f"md5: {A}\n{rest}", "m.pt", FILE))["md5"]
    assert checksum == usual != A, "it is not that of the new text"
    assert new.splitlines()[1:4] == text.splitlines()[1:4], "other lines changed"


@pytest.mark.parametrize(
    "text",
    [
        "outs: [{path: m.pt, desc: hi, md5: x}]  # flow\n",
        "outs:\n- {md5: x, size: 1, path: m.pt, desc: hi}\n",
        "outs:\n- path: m.pt\n  desc: hi\n",
        "outs:\n- desc: hi\n  path: m.pt",
        f"outs:\n  - desc: hi\n    md5: {A}\n    path: ./m.pt\n",
        f"md5: {B}\ndeps:\n- path: elsewhere\nouts:\n- md5: {A}\n  path: m.pt\n  desc: hi\n",
    ],
)
def test_any_way_to_write_it_is_understood(text):
    new = pointer.updated(text, "m.pt", FOLDER)
    before, after = YAML(typ="safe").load(text), YAML(typ="safe").load(new)
    out = after["outs"].pop(0)
    before["outs"].pop(0)
    assert (after.pop("md5", None) == before.pop("md5", None)) == ("deps" not in text), (
        "the checksum of all of it, where there is one, is not brought up to date"
    )
    assert after == before
    assert {key: out[key] for key in ("md5", "size", "nfiles", "hash", "desc")} == {
        "md5": FOLDER.md5, "size": 30, "nfiles": 2, "hash": "md5", "desc": "hi",
    }  # fmt: skip
    assert pointer.updated(new, "m.pt", FOLDER) == new


@pytest.mark.parametrize(
    "text",
    [
        f"outs:\n- md5: &h {A}\n  size: 3\n  hash: md5\n  path: m.pt\nmeta:\n  checked: *h\n",
        f"meta: {{was: &m {A}}}\nouts:\n- md5: *m\n  size: 3\n  hash: md5\n  path: m.pt\n",
        f"meta: {{n: &n 3}}\nouts:\n- md5: {A}\n  size: *n\n  hash: md5\n  path: m.pt\n",
        f"meta:\n  all: &a\n    md5: {A}\n    size: 3\n    path: m.pt\nouts:\n- *a\n",
        f"meta: {{a: &a {{md5: {A}, isexec: true}}}}\nouts:\n- <<: *a\n  path: m.pt\n",
        f"meta: {{a: &a {{path: m.pt}}}}\nouts:\n- md5: {A}\n  <<: *a\n",
        f"meta: {{sum: &s {A}, n: .nan}}\nmd5: *s\ndeps:\n- path: x\nouts:\n- path: m.pt\n",
    ],
)
@pytest.mark.parametrize("content", [Content(B, 77), FOLDER])
def test_what_an_anchor_shares_with_the_output_stays_what_it_was(text, content):
    before = YAML(typ="safe").load(text)
    new = pointer.updated(f"# mine\n{text}", "m.pt", content)
    after = YAML(typ="safe").load(new)
    assert str(after["meta"]) == str(before["meta"]), "the user's own values changed"
    assert after["outs"] == YAML(typ="safe").load(pointer.fresh("m.pt", content))["outs"]
    assert pointer.updated(new, "m.pt", content) == new


def test_a_value_with_an_anchor_is_updated_as_dvc_does():
    text = f"# mine\nouts:\n- md5: {{}}{A}\n  size: 3\n  hash: md5\n  path: m.pt\nmeta: [{{}}]\n"
    new = pointer.updated(text.format("&h ", "*h"), "m.pt", Content(B))
    assert new == text.format("", f"&h {A}").replace(A, B, 1)


def test_the_hash_of_older_dvc_versions_is_brought_up_to_date():
    old = f"outs:\n- md5: {A}\n  size: 3\n  path: m.pt\n"
    assert pointer.updated(old, "m.pt", FILE) == pointer.fresh("m.pt", FILE)


def test_what_a_cloud_said_of_the_old_content_goes_with_it():
    text = (
        f"outs:\n- md5: {A}\n  size: 3\n  cloud:\n    s3:\n      etag: x\n      version_id: y\n"
        "  hash: md5\n  path: m.pt\n  desc: hi\n"
    )
    assert pointer.updated(text, "m.pt", FILE) == text
    new = pointer.updated(text, "m.pt", Content(B, 4))
    assert new == f"outs:\n- md5: {B}\n  size: 4\n  hash: md5\n  path: m.pt\n  desc: hi\n"


def test_a_folder_that_names_its_files_is_told_unchanged_by_them():
    from dvc_data.hashfile.tree import Tree

    files = [{"md5": A, "relpath": "x"}, {"md5": B, "relpath": "sub/y"}]
    tree = Tree.from_list(files)
    tree.digest()
    text = "outs:\n- path: d\n  hash: md5\n  files:\n" + "".join(
        f"  - size: 1\n    version_id: v\n    md5: {f['md5']}\n    relpath: {f['relpath']}\n"
        for f in files
    )
    assert pointer.updated(text, "d", Content(tree.oid, 2, 2)) == text
    changed = YAML(typ="safe").load(pointer.updated(text, "d", FOLDER))["outs"][0]
    assert "files" not in changed
    assert changed["md5"] == FOLDER.md5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("outs: [", "YAML"),
        (f"<<<<<<< HEAD\nouts:\n- md5: {A}\n=======\n>>>>>>> x\n", "YAML"),
        ("outs:\n- md5: x\n  md5: y\n  path: m.pt\n", "YAML"),
        ("{}\n", "pointer"),
        ("- a\n", "pointer"),
        ("outs: []\n", "pointer"),
        (f"outs:\n- md5: {A}\n  path: m.pt\n- md5: {A}\n  path: n.pt\n", "alone"),
        (f"cmd: train\nouts:\n- md5: {A}\n  path: m.pt\n", "alone"),
        (f"wdir: ..\nouts:\n- md5: {A}\n  path: m.pt\n", "alone"),
        (f"outs:\n- md5: {A}\n  path: other.pt\n", "other.pt"),
        (f"outs:\n- md5: {A}\n  size: 3\n  hash: md5\n  path: other.pt\n", "other.pt"),
    ],
)
def test_a_file_that_is_no_pointer_to_the_path_is_refused(text, says):
    for call in (lambda: pointer.check(text, "m.pt"), lambda: pointer.updated(text, "m.pt", FILE)):
        with pytest.raises(ArtifactConflictError, match=says) as caught:
            call()
        assert "m.pt.dvc" in str(caught.value)


def test_dvc_reads_what_an_update_wrote():
    from dvc.schema import COMPILED_SINGLE_STAGE_SCHEMA

    text = pointer.updated(RICH.replace("unknown:   [1,  2]\n", ""), "m.pt", FOLDER)
    data = YAML(typ="safe").load(io.StringIO(text))
    assert COMPILED_SINGLE_STAGE_SCHEMA(data)["outs"][0]["nfiles"] == 2
