"""A folder that a person has filled is shown, never copied and never changed."""

from pathlib import Path

import pytest

from imagewright.config.data import FetchSection, FolderSource
from imagewright.errors import SourceError
from imagewright.fetch import fetch
from imagewright.fetch.folder import link_folder


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
    with pytest.raises(SourceError, match=r"there is no such folder\n  put the raw images of 'pets' there"):
        link_folder(path, raw)
    assert not raw.is_symlink()


def test_an_empty_folder_has_no_manifest(mine: Path, raw: Path) -> None:
    (mine / "1.png").unlink()
    section = FetchSection(source=FolderSource(kind="folder", path=str(mine)))
    with pytest.raises(SourceError, match="there are no files"):
        fetch(section, raw, raw.with_suffix(".json"))
    assert not raw.with_suffix(".json").exists()
