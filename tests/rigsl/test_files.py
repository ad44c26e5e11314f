"""Files that are written: their permissions, and what a kill in the middle of it leaves."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigsl.config import RIGSLConfig
from rigsl.files import (
    file_name,
    intended,
    new_folder,
    permissions,
    remove_leftovers,
    replacing,
    replacing_folder,
    write_text,
)
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import CONFIG, WEIGHTS, load_checkpoint, save_checkpoint
from search.run_folder import ROOT
from tests.helpers.corpora import toy_corpus


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(scope="module")
def model():
    schema = toy_corpus().schema
    return RIGSL(RIGSLConfig(modals="l", hidden_dim=8, num_K=1, num_L=1, nodeformer_heads=1), schema)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "deep" / "file.txt", "text")
    assert permissions(tmp_path / "deep" / "file.txt") == 0o666 & ~umask
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.txt"]


def test_a_file_is_never_wider_than_in_the_end(tmp_path: Path, umask: int) -> None:
    with replacing(tmp_path / "file.txt") as temporary:
        assert permissions(temporary) == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert (path.read_text(), permissions(path)) == ("new", 0o640)


def test_a_checkpoint_has_the_permissions_of_the_umask(tmp_path: Path, umask: int, model: RIGSL) -> None:
    folder = tmp_path / "model"
    for _ in range(2):  # made, and replaced
        save_checkpoint(folder, model)
        assert permissions(folder) == 0o777 & ~umask
        assert [permissions(folder / name) for name in (WEIGHTS, CONFIG)] == 2 * [0o666 & ~umask]
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_checkpoint_that_is_replaced_keeps_its_permissions(
    tmp_path: Path, umask: int, model: RIGSL
) -> None:
    folder = tmp_path / "model"
    save_checkpoint(folder, model)
    folder.chmod(0o750)
    (folder / WEIGHTS).chmod(0o600)
    save_checkpoint(folder, model)
    assert (permissions(folder), permissions(folder / WEIGHTS)) == (0o750, 0o600)
    assert load_checkpoint(folder).config == model.config


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace", "copy2"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_older_one_and_all_other_files(
    tmp_path: Path, model: RIGSL, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk refuses one call of this kind after another, until all that there are have been refused."""
    folder, other = tmp_path / "model", RIGSL(model.config.replace(hidden_dim=16), model.schema)
    save_checkpoint(folder, model)
    (folder / "average").mkdir()
    for name in ("metrics.json", "card.md", "average/file"):
        (folder / name).write_text(name)
    before = _contents(tmp_path)
    owner = {"fsync": os, "copy2": shutil}.get(call, Path)
    works = getattr(owner, call)
    if call in ("replace", "copy2"):  # a file system that neither exchanges names nor has links
        monkeypatch.setattr(ctypes, "CDLL", lambda _: None)
        monkeypatch.setattr(os, "link", _refuse_link)
    for number in itertools.count():
        calls = itertools.count()

        def refuse(
            *arguments: object, calls: Iterator[int] = calls, number: int = number, **options: object
        ) -> object:
            if next(calls) == number:
                raise OSError(errno.EIO, "Input/output error")
            return works(*arguments, **options)

        with monkeypatch.context() as patch, contextlib.suppress(OSError):
            patch.setattr(owner, call, refuse)
            save_checkpoint(folder, other)
        if next(calls) <= number:
            break
        assert _contents(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert number > 1
    assert load_checkpoint(folder).config == other.config
    assert _contents(tmp_path).keys() == before.keys()


def _refuse_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_reader_never_finds_a_mixture_and_a_folder_keeps_its_other_files(
    tmp_path: Path, umask: int
) -> None:
    folder = tmp_path / "deep" / "folder"
    for content in ("old", "new"):
        with replacing_folder(folder, {"own", "gone"}.__contains__) as fresh:
            (fresh / "own").mkdir()
            for name in ("own/file", "gone") if content == "old" else ("own/file",):
                (fresh / name).write_text(content)
                (fresh / name).chmod(0o600)
            if content == "new":
                assert (folder / "own" / "file").read_text() == "old"
        (folder / "kept").write_text("kept")
        assert (folder / "own" / "file").read_text() == content
        assert permissions(folder / "own" / "file") == 0o666 & ~umask
        assert permissions(folder) == permissions(folder / "own") == 0o777 & ~umask
    assert sorted(path.name for path in folder.iterdir()) == ["kept", "own"]
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError), replacing_folder(tmp_path / "away" / "x", bool, parents=False):
        pass


#: Replaces a folder, and is killed before its call number `argv[2]` that renames, links, copies or removes
#: something; ends with 0 where there are fewer calls.
_KILLED_IN_A_FOLDER = """
import ctypes, os, sys
from pathlib import Path
from rigsl import files

left = int(sys.argv[2])
def killed_at(call):
    def counted(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **options)
    return counted

for owner, name in ((os, "rename"), (os, "replace"), (os, "link"), (os, "unlink"), (os, "rmdir")):
    setattr(owner, name, killed_at(getattr(owner, name)))
class Library:
    renameat2 = staticmethod(killed_at(ctypes.CDLL(None).renameat2)) if sys.argv[3] == "exchanges" else None
files.ctypes.CDLL = lambda _: Library
with files.replacing_folder(Path(sys.argv[1]), {"own"}.__contains__) as fresh:
    (fresh / "own").write_text("new")
"""


@pytest.mark.parametrize("kind", ["exchanges", "renames"])
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one_with_all_that_is_kept(
    kind: str, tmp_path: Path
) -> None:
    found = []
    for moment in itertools.count():
        parent = tmp_path / str(moment)
        folder = parent / "best"
        (folder / "taught").mkdir(parents=True)
        for name, content in (("own", "old"), ("notes", "kept"), ("taught/model", "kept")):
            (folder / name).write_text(content)
        (folder / "to_notes").symlink_to("notes")
        arguments = [str(folder), str(moment), kind]
        done = subprocess.run([sys.executable, "-c", _KILLED_IN_A_FOLDER, *arguments], cwd=ROOT, check=False)
        assert done.returncode in (0, 9)
        if kind == "exchanges":
            assert folder.is_dir()
        remove_leftovers(parent)
        assert [path.name for path in parent.iterdir()] == ["best"]
        assert {path.name for path in folder.iterdir()} == {"own", "notes", "to_notes", "taught"}
        assert (folder / "notes").read_text() == (folder / "taught" / "model").read_text() == "kept"
        assert (folder / "to_notes").readlink() == Path("notes")
        found.append((folder / "own").read_text())
        if done.returncode == 0:
            break
    assert found == sorted(found, reverse=True)
    assert {*found} == {"old", "new"}


def test_a_folder_is_replaced_where_a_link_leads_and_without_links_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    link.symlink_to(folder)
    monkeypatch.setattr(os, "link", _refuse_link)
    with replacing_folder(link, {"own"}.__contains__) as fresh:
        (fresh / "own").write_text("new")
    assert link.is_symlink()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"own": "new", "kept": "kept"}
    assert {*tmp_path.iterdir()} == {folder, link}


_KILLED = """
import os, sys
from pathlib import Path
from rigsl.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of it")
    os._exit(9)
"""


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    assert intended(left) == path
    (new_folder(tmp_path / "model") / "weights").touch()
    kept = [tmp_path / name for name in ("model", ".hidden", ".ray", "state.pt", ".state.pt.old")]
    for other in kept:
        other.touch()
    remove_leftovers(tmp_path)
    assert {*tmp_path.iterdir()} == {*kept}
    remove_leftovers(tmp_path / "none")


def test_a_file_for_any_text_is_in_its_folder():
    assert file_name("test_17") == "test_17"
    assert file_name("Ses01F-impro.1") == "Ses01F-impro.1"
    others = ["../x", "a/b", "a b", "-x", "", "x" * 300, "ä/ö"]
    names = [file_name(text) for text in others]
    assert len(set(names)) == len(others)
    assert all(name == Path(name).name and len(name) < 120 and name[0] not in ".-" for name in names)


def test_an_error_of_the_storage_names_the_file_that_was_meant(tmp_path: Path) -> None:
    path, full = tmp_path / "file.txt", "No space left on device"
    with pytest.raises(OSError, match=full) as error, replacing(path):
        raise OSError(errno.ENOSPC, full)
    assert error.value.filename == str(path)
    folder = tmp_path / "folder"
    with pytest.raises(OSError, match=full) as error, replacing_folder(folder, bool) as fresh:
        raise OSError(errno.ENOSPC, full, str(fresh / "file.txt"))
    assert error.value.filename == str(folder)
    with pytest.raises(OSError, match=full) as error, replacing(path):
        raise OSError(errno.ENOSPC, full, "another file")
    assert error.value.filename == "another file"


def test_a_checkpoint_behind_a_link_is_replaced_where_it_is(tmp_path: Path, model: RIGSL) -> None:
    folder, link = tmp_path / "large disk" / "model", tmp_path / "link"
    folder.parent.mkdir()
    link.symlink_to(folder)
    save_checkpoint(link, model)
    other = RIGSL(model.config.replace(hidden_dim=16), model.schema)
    save_checkpoint(link, other)
    assert link.is_symlink()
    assert load_checkpoint(folder).config == other.config
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
