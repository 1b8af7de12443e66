"""One sign, filmed thirty times, in train and in val: the score would count what was learnt by heart."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Project, make_project
from stopped import check_passes, check_stopped
from unit.public_data import CONFIGS, noise, save, write

SIGNS, FILMS = (("--config", f"experiments={name}") for name in ("tiny-signs", "films"))
TRACKS = range(8)
FRAMES = range(5)
CLASSES = ("0", "1", "10")
HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
MANIFEST = "data/raw/films/manifest.csv"
TOP = "data/raw/tiny-signs/GTSRB"
READER = "src/imagewright/index/readers/gtsrb.py"
SPLITS = "src/imagewright/index/splits.py"


def index_of(data: str) -> tuple[str, str]:
    return f"results/index/{data}/index.parquet", f"results/index/{data}/report.json"


def frame(label: str, track: int, number: int) -> np.ndarray:
    """A frame of a track is nearly the one before it, and its pixels are never quite the same."""
    of_track = noise(12, 12, 3, seed=1000 * int(label) + track) // 2
    return of_track + noise(12, 12, 3, seed=number) // 16


def write_signs(top: Path) -> None:
    """Three classes of GTSRB in the official form: 8 tracks of 5 frames each, and two test images."""
    tests = []
    for label in CLASSES:
        folder = top / f"Final_Training/Images/{int(label):05d}"
        names = {f"{track:05d}_{number:05d}.ppm": (track, number) for track in TRACKS for number in FRAMES}
        for name, (track, number) in names.items():
            save(folder / name, frame(label, track, number))
        write(folder / f"GT-{folder.name}.csv", [HEADER, *(f"{name};12;12;1;1;11;11;{label}" for name in names)])
        for _ in range(2):
            tests.append(f"{len(tests):05d}.ppm;12;12;1;1;11;11;{label}")
            save(top / f"Final_Test/Images/{len(tests) - 1:05d}.ppm", noise(12, 12, 3, seed=99_000 + len(tests)))
    write(top / "Final_Test/Images/GT-final_test.csv", [HEADER, *tests])


def write_films(raw: Path) -> None:
    """The same frames as a table with groups and splits of its own."""
    lines = ["path,label,split,group"]
    for label in CLASSES:
        for track in TRACKS:
            split = {6: "val", 7: "test"}.get(track, "train")
            for number in FRAMES:
                name = f"{label}-{track}-{number}.png"
                save(raw / name, frame(label, track, number))
                lines.append(f"{name},{label},{split},film-{label}-{track}")
    write(raw / "manifest.csv", lines)


def add_experiment(project: Project, name: str, data: dict[str, object]) -> None:
    project.write_yaml(f"config/data/{name}.yaml", data)
    choices = [{"override /data": name}, {"override /tensors": "gray16"}, {"override /model": "resnet10t"}]
    project.write_yaml(f"config/experiment/{name}.yaml", {"defaults": choices}, header="# @package _global_\n")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clean twin: signs under the config that is shipped for them, and the same frames as a table; indexed."""
    project = make_project(tmp_path_factory.mktemp("clean") / "project")
    write_signs(project.root / TOP)
    write_films((project.root / MANIFEST).parent)
    shipped = yaml.safe_load((CONFIGS / "signs.yaml").read_text())
    shipped["names"] = {label: shipped["names"][label] for label in CLASSES}
    add_experiment(project, "tiny-signs", shipped)
    films = {"task": "classification", "source": {"kind": "folder"}, "layout": {"kind": "csv_manifest"}}
    add_experiment(project, "films", films)
    done = project.snakemake("index_all", "--config", "experiments=tiny-signs,films")
    assert done.returncode == 0, done.stdout[-3000:]
    return project


@pytest.fixture
def tracks(clean: Project, tmp_path: Path) -> Project:
    """A copy of the clean twin, to change and run again."""
    shutil.copytree(clean.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def evidence_of(project: Project, data: str) -> pd.DataFrame:
    return pd.read_csv(project.root / f"logs/index/{data}/groups-in-two-splits.csv", dtype=str)


def test_the_clean_twin(clean: Project) -> None:
    for data, group in (("tiny-signs", "10/00003"), ("films", "film-10-3")):
        rows = pd.read_parquet(clean.root / index_of(data)[0])
        assert len(rows[rows["group"] == group]) == len(FRAMES)
        assert rows.groupby("group")["split"].nunique().max() == 1
        groups = {name: split["groups"] for name, split in clean.json(index_of(data)[1])["splits"].items()}
        assert groups["train"] + groups["val"] == len(CLASSES) * len(TRACKS) - (3 if data == "films" else 0)


def test_data_that_tears_a_track(clean: Project, tracks: Project) -> None:
    tracks.edit(MANIFEST, "10-3-4.png,10,train", "10-3-4.png,10,val")
    done = tracks.snakemake("index_all", *FILMS)
    check_stopped(
        tracks, done, "1 groups are in more than one split", "'film-10-3' is in train, val",
        "logs/index/films/groups-in-two-splits.csv", absent=index_of("films"),
    )  # fmt: skip
    listed = evidence_of(tracks, "films")
    assert set(listed["group"]) == {"film-10-3"} and len(listed) == len(FRAMES)
    assert listed.set_index("path")["split"]["10-3-4.png"] == "val"
    check_passes(clean, *index_of("films"))


@pytest.mark.proof
def test_data_that_says_the_split_of_some_frames(clean: Project, tracks: Project) -> None:
    # A line without a split is train's; so is it where others of its track are not.
    tracks.edit(MANIFEST, "10-6-4.png,10,val", "10-6-4.png,10,")
    done = tracks.snakemake("index_all", *FILMS)
    check_stopped(tracks, done, "first: 'film-10-6' is in train, val", absent=index_of("films"))
    check_passes(clean, *index_of("films"))


@pytest.mark.proof
def test_data_with_frames_moved_to_test(clean: Project, tracks: Project) -> None:
    # Whoever cuts a test split of his own moves frames; their names still say the track.
    moved, train, test = "00003_00004.ppm", f"{TOP}/Final_Training/Images/00010", f"{TOP}/Final_Test/Images"
    (tracks.root / train / moved).rename(tracks.root / test / moved)
    line = f"{moved};12;12;1;1;11;11;10\n"
    tracks.edit(f"{train}/GT-00010.csv", line, "")
    listing = tracks.root / test / "GT-final_test.csv"
    listing.write_text(listing.read_text() + line)
    done = tracks.snakemake("index_all", *SIGNS)
    check_stopped(tracks, done, "first: '10/00003' is in test, train", absent=index_of("tiny-signs"))
    assert f"GTSRB/Final_Test/Images/{moved}" in set(evidence_of(tracks, "tiny-signs")["path"])
    check_passes(clean, *index_of("tiny-signs"))


GROUPS = '    groups = rows["group"].to_numpy(dtype=str)\n'


def test_code_that_cuts_images_one_by_one(clean: Project, tracks: Project) -> None:
    tracks.edit(SPLITS, GROUPS, "    groups = np.arange(len(rows)).astype(str)\n")
    done = tracks.snakemake("index_all", *SIGNS)
    message = check_stopped(
        tracks, done, "groups are in more than one split", "is in train, val",
        "logs/index/tiny-signs/groups-in-two-splits.csv", absent=index_of("tiny-signs"),
    )  # fmt: skip
    listed = evidence_of(tracks, "tiny-signs")
    assert f"'{listed['group'].iloc[0]}'" in message
    assert set(listed["split"]) == {"train", "val"}
    check_passes(clean, *index_of("tiny-signs"))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param(READER, 'split="train", group=_track(path, label)', 'split="train"', id="the-reader"),
        pytest.param(
            SPLITS, '    return rows["group"].where(rows["group"].notna(), rows["pixels"])\n',
            '    return rows["pixels"]\n', id="the-cut", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_code_that_loses_the_track(clean: Project, tracks: Project, path: str, old: str, new: str) -> None:
    tracks.edit(path, old, new)
    done = tracks.snakemake("index_all", *SIGNS)
    check_stopped(
        tracks, done, "120 images have lost their group", "layout gtsrb", "00000/00000_00000.ppm", "data.split.group",
        absent=index_of("tiny-signs"),
    )  # fmt: skip
    check_passes(clean, *index_of("tiny-signs"))
