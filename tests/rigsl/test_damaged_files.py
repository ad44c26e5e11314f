"""Own files that are damaged, and places that cannot be written, are one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigsl.errors import UserError
from rigsl.files import check_writable, read_json

DAMAGED = [
    b"",
    b"{",
    b'{"a": 1',
    b"\xff\xfe{}",
    b"[]",
    b"null",
    b"1",
    b'"text"',
    b"[" * 100_000,
    b"9" * 5_000,
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_json_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.json: is damaged; restore it from a copy \(") as error:
        read_json(path, dict)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_json_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"a": [1]}', encoding="utf-8-sig")
    assert read_json(tmp_path / "a", dict) == {"a": [1]}
    assert read_json(tmp_path / "b", list) is None
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path, dict)


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = [tmp_path / "file" / "model"]
    if Path("/proc/self").is_dir():
        places.append(Path("/proc/self/model"))
    for place in places:
        with pytest.raises(UserError, match="model: cannot be written"):
            check_writable(place)


@pytest.mark.parametrize(
    ("place", "folder", "says"),
    [
        ("file", True, "Not a directory"),
        ("some folder", False, "Is a directory"),
        ("x" * 255, True, "File name too long"),
        ("new/" + "x" * 255 + "/file", False, "File name too long"),
        (".", True, "it ends in no name"),
        ("some folder/..", True, "it ends in no name"),
        ("/", True, "it ends in no name"),
        ("/proc", True, "it is a mount point; choose a folder in it"),
    ],
)
def test_a_place_of_another_kind_is_refused(
    place: str, folder: bool, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "some folder").mkdir()
    with pytest.raises(UserError, match=says) as error:
        check_writable(Path(place), folder=folder)
    assert str(error.value).startswith(f"{Path(place)}: cannot be ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "some folder"]
