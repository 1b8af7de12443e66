"""A folder that a person has filled is shown, never copied and never changed."""

from pathlib import Path
from typing import Any

import pytest

from imagewright.config.data import FetchSection, FolderSource
from imagewright.errors import SourceError
from imagewright.fetch import fetch
from imagewright.fetch.folder import link_folder as link

FACES = {
    "dataset": "FER2013",
    "page": "https://example.org/faces",
    "files": ["fer2013.csv", "train/<class>/*.jpg"],
}


def link_folder(path: str | None, raw: Path, **facts: Any) -> None:
    link(FolderSource(kind="folder", path=path, **facts), raw)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"mine")
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "pets"


def test_a_link_shows_the_folder(mine: Path, raw: Path) -> None:
    link_folder(str(mine), raw)
    assert raw.is_symlink() and (raw / "1.png").read_bytes() == b"mine"


def test_a_second_time_and_another_folder(tmp_path: Path, mine: Path, raw: Path) -> None:
    link_folder(str(mine), raw)
    link_folder(str(mine), raw)
    other = tmp_path / "other"
    other.mkdir()
    link_folder(str(other), raw)
    assert raw.resolve() == other
    assert (mine / "1.png").exists()


def test_a_folder_that_has_moved_away(tmp_path: Path, mine: Path, raw: Path) -> None:
    link_folder(str(mine), raw)
    moved = mine.rename(tmp_path / "moved")
    with pytest.raises(SourceError, match="mine: there is no such folder"):
        link_folder(str(mine), raw)
    link_folder(str(moved), raw)
    assert (raw / "1.png").read_bytes() == b"mine"


def test_a_path_from_where_the_project_is(mine: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    link_folder("mine", raw)
    assert (raw / "1.png").read_bytes() == b"mine"


@pytest.mark.parametrize("given", [False, True])
def test_images_that_lie_in_place(raw: Path, given: bool) -> None:
    raw.mkdir(parents=True)
    link_folder(str(raw) if given else None, raw)
    assert raw.is_dir() and not raw.is_symlink()


def test_what_lies_in_the_way_is_kept(mine: Path, raw: Path) -> None:
    raw.mkdir(parents=True)
    (raw / "2.png").write_bytes(b"also mine")
    with pytest.raises(SourceError, match=r"pets: it exists, but the data config's source is .*mine"):
        link_folder(str(mine), raw)
    assert (raw / "2.png").read_bytes() == b"also mine"


@pytest.mark.parametrize("path", [None, "/nowhere/at/all"])
def test_no_folder(raw: Path, path: str | None) -> None:
    with pytest.raises(SourceError, match=r"there is no such folder\n  put the raw images of 'pets' in .*"):
        link_folder(path, raw)
    assert not raw.is_symlink()


def test_an_empty_folder_has_no_manifest(mine: Path, raw: Path) -> None:
    (mine / "1.png").unlink()
    section = FetchSection(source=FolderSource(kind="folder", path=str(mine)))
    with pytest.raises(SourceError, match="there are no files"):
        fetch(section, raw, raw.with_suffix(".json"))
    assert not raw.with_suffix(".json").exists()


def test_a_missing_public_data_set_is_named(raw: Path) -> None:
    with pytest.raises(SourceError) as caught:
        link_folder(None, raw, **FACES)
    problem, remedy = str(caught.value).splitlines()
    assert problem == f"{raw}: there is no such folder; FER2013 belongs there (https://example.org/faces)"
    assert "put its folder (fer2013.csv, or train/<class>/*.jpg) in" in remedy and f"ln -s <its folder> {raw}" in remedy


def test_an_empty_place_for_a_public_data_set(raw: Path) -> None:
    raw.mkdir(parents=True)
    source = FolderSource.model_validate({"kind": "folder"} | FACES)
    with pytest.raises(SourceError, match=r"there are no files; FER2013 belongs there .*\n.*ln -s"):
        fetch(FetchSection(source=source), raw, raw.with_suffix(".json"))


def test_files_behind_a_linked_folder_are_listed(mine: Path, raw: Path) -> None:
    raw.mkdir(parents=True)
    (raw / "cat").symlink_to(mine)
    fetch(FetchSection(source=FolderSource(kind="folder")), raw, raw.with_suffix(".json"))
    assert '"cat/1.png"' in raw.with_suffix(".json").read_text()


def test_a_link_that_a_person_made(mine: Path, raw: Path) -> None:
    raw.parent.mkdir(parents=True)
    raw.symlink_to(mine)
    source = FolderSource.model_validate({"kind": "folder"} | FACES)
    fetch(FetchSection(source=source), raw, raw.with_suffix(".json"))
    assert '"1.png"' in raw.with_suffix(".json").read_text()
    mine.rename(mine.with_name("gone"))
    with pytest.raises(SourceError, match="the link points nowhere; FER2013"):
        link_folder(None, raw, **FACES)
