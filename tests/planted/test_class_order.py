"""Two forms of one data set, two orders of its classes: a model of the one would call every sad face neutral."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Project, make_project
from scipy.io import savemat
from stopped import DIGITS, check_passes, check_stopped
from unit.public_data import CONFIGS, noise, save, write

FACES, FOLDERS, DOGS = (("--config", f"experiments={name}") for name in ("faces-table", "faces-folders", "dogs-lists"))
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = {"train": "Training", "test": "PrivateTest"}
READER = "src/imagewright/index/readers/fer2013.py"
TABLE = '("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")'

BREEDS = {"n02085620": "Chihuahua", "n02088364": "beagle", "n02096585": "Boston_bull"}
LISTS = "data/raw/dogs-lists"


def index_of(data: str) -> tuple[str, str]:
    return f"results/index/{data}/index.parquet", f"results/index/{data}/report.json"


def write_faces(table: Path, folders: Path) -> None:
    """24 faces of each emotion, as rows of a table and as files in folders; the table begins with a sad one."""
    lines = ["emotion,pixels,Usage"]
    for number in range(24 * len(EMOTIONS)):
        emotion = (number + 4) % len(EMOTIONS)
        split = "test" if number >= 20 * len(EMOTIONS) else "train"
        face = noise(48, 48, seed=number)
        lines.append(f"{emotion},{' '.join(map(str, face.ravel().tolist()))},{USAGES[split]}")
        save(folders / split / EMOTIONS[emotion] / f"{number}.png", face)
    write(table / "fer2013.csv", lines)


def write_dogs(official: Path, kaggle: Path) -> None:
    """Ten dogs of each breed, in the official folders and as Kaggle gives them, the last breed first."""
    lines = ["id,breed"]
    for position, (key, name) in enumerate(reversed(BREEDS.items())):
        for number in range(10):
            path = official / f"Images/{key}-{name}/{key}_{number}.jpg"
            save(path, noise(16, 16, 3, seed=10 * position + number))
            image = f"{10 * position + number:032x}"
            (kaggle / "train").mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kaggle / f"train/{image}.jpg")
            lines.append(f"{image},{name.lower()}")
    write(kaggle / "labels.csv", lines)
    write_lists(official, tuple(BREEDS))


def write_lists(folder: Path, numbered: Sequence[str]) -> None:
    """`train_list.mat` and `test_list.mat`; breeds have their numbers, from 1, in the order that is given."""
    for split, numbers in (("train", range(8)), ("test", range(8, 10))):
        files = [f"{key}-{name}/{key}_{number}.jpg" for key, name in BREEDS.items() for number in numbers]
        labels = np.array([[numbered.index(file[:9]) + 1] for file in files], np.uint8)
        savemat(folder / f"{split}_list.mat", {"file_list": np.array(files, object).reshape(-1, 1), "labels": labels})


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clean twin: two data sets in two forms each, under the configs that are shipped for them; indexed."""
    project = make_project(tmp_path_factory.mktemp("clean") / "project")
    raw = project.root / "data/raw"
    write_faces(raw / "faces-table", raw / "faces-folders")
    write_dogs(raw / "dogs-lists", raw / "dogs-kaggle")
    dogs = yaml.safe_load((CONFIGS / "dogs.yaml").read_text())
    dogs["names"] = {key: dogs["names"][key] for key in BREEDS}
    names = ["faces-table", "faces-folders", "dogs-lists", "dogs-kaggle"]
    for name in names:
        if name.startswith("dogs"):
            project.write_yaml(f"config/data/{name}.yaml", dogs)
        else:
            shutil.copy2(CONFIGS / "emotion.yaml", project.root / f"config/data/{name}.yaml")
        choices = [{"override /data": name}, {"override /tensors": "gray16"}, {"override /model": "resnet10t"}]
        project.write_yaml(f"config/experiment/{name}.yaml", {"defaults": choices}, header="# @package _global_\n")
    done = project.snakemake("index_all", "--config", f"experiments={','.join(names)}")
    assert done.returncode == 0, done.stdout[-3000:]
    return project


@pytest.fixture
def forms(clean: Project, tmp_path: Path) -> Project:
    """A copy of the clean twin, to change and run again."""
    shutil.copytree(clean.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.mark.parametrize(
    ("first", "second", "classes"),
    [("faces-table", "faces-folders", EMOTIONS), ("dogs-lists", "dogs-kaggle", tuple(BREEDS))],
)
def test_the_clean_twin(clean: Project, first: str, second: str, classes: tuple[str, ...]) -> None:
    reports = [clean.json(index_of(data)[1]) for data in (first, second)]
    assert reports[0]["classes"] == reports[1]["classes"] == list(classes)
    rows = [pd.read_parquet(clean.root / index_of(data)[0]) for data in (first, second)]
    labels = [dict(zip(table["pixels"], table["label"], strict=True)) for table in rows]
    assert labels[0] == labels[1] and len(labels[0]) == len(rows[0])


def test_lists_with_numbers_in_another_order(clean: Project, forms: Project) -> None:
    # By name, as a person would sort them, and not by id.
    write_lists(forms.root / LISTS, sorted(BREEDS, key=lambda key: BREEDS[key].casefold()))
    done = forms.snakemake("index_all", *DOGS)
    check_stopped(
        forms, done, "train_list.mat: n02085620-Chihuahua/", "has label 3, but n02085620 is number 1 of the folders",
        absent=index_of("dogs-lists"),
    )  # fmt: skip
    check_passes(clean, *index_of("dogs-lists"))


@pytest.mark.parametrize(
    ("experiment", "path", "old", "new", "words"),
    [
        pytest.param(
            FACES, READER, TABLE, TABLE.replace('"sad", "surprise", "neutral"', '"neutral", "sad", "surprise"'),
            ["class 4 is 'sad', but the published order has 'neutral' there"], id="the-table-sorted-by-name",
        ),
        pytest.param(
            FACES, READER, TABLE, TABLE.replace('"angry", "disgust"', '"disgust", "angry"'),
            ["class 0 is 'angry', but the published order has 'disgust' there"], id="the-table-with-two-swapped",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            FOLDERS, "src/imagewright/index/classes.py", "    classes = list(declared or found)\n",
            "    classes = sorted(declared or found)\n",
            ["class 4 is 'neutral', but the published order has 'sad' there"],
            id="sorted-by-the-code", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_code_with_another_order(
    clean: Project, forms: Project, experiment: tuple[str, str], path: str, old: str, new: str, words: list[str]
) -> None:
    forms.edit(path, old, new)
    done = forms.snakemake("index_all", *experiment)
    data = experiment[1].partition("=")[2]
    check_stopped(forms, done, "layout fer2013", *words, "src/imagewright/index/readers/", absent=index_of(data))
    check_passes(clean, *index_of(data))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        pytest.param(
            "faces-folders", {"classes": sorted(EMOTIONS)},
            ["class 4 is 'neutral', but the published order has 'sad' there", ", ".join(EMOTIONS)], id="sorted-by-name",
        ),
        # Without a declared order it is the table's own, in which a sad face happens to come first.
        pytest.param(
            "faces-table", {"classes": None}, ["class 0 is 'sad', but the published order has 'angry' there"],
            id="as-the-table-has-it", marks=pytest.mark.proof,
        ),
        pytest.param(
            "dogs-kaggle", {"names": {}, "classes": None}, ["'boston_bull' is no class of this data set"],
            id="as-the-pictures-come", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_a_config_with_another_order(
    clean: Project, forms: Project, name: str, changes: dict[str, object], words: list[str]
) -> None:
    config = f"config/data/{name}.yaml"
    forms.write_yaml(config, yaml.safe_load((forms.root / config).read_text()) | changes)
    done = forms.snakemake("index_all", "--config", f"experiments={name}")
    check_stopped(forms, done, "layout ", *words, "config/data/", absent=index_of(name))
    check_passes(clean, *index_of(name))


METRICS = "results/evaluate/digits8/metrics.json"
META = "results/tensors/digits8-gray16/meta.json"
SELECT = "src/imagewright/select/choose.py"
WRITE = "src/imagewright/tensors/write.py"
SHORT = (*DIGITS, "overrides=[train.epochs=1]")


def test_tensors_with_another_order_than_the_model(built: Project, project: Project) -> None:
    # The file is as old as it was, as after a copy or a checkout, so nothing is trained again.
    path = project.root / META
    written = path.stat()
    path.write_text(path.read_text().replace('"0",\n', '"9",\n', 1).replace('"9"\n', '"0"\n', 1))
    assert project.json(META)["classes"] == ["9", *map(str, range(1, 9)), "0"]
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    (project.root / METRICS).unlink()
    done = project.snakemake("evaluate_all", *DIGITS)
    check_stopped(
        project, done, "output 0 of the model is '0', but '9' in the tensors", "train again",
        absent=[METRICS],
    )  # fmt: skip
    check_passes(built, METRICS)


@pytest.mark.proof
def test_a_model_that_names_its_outputs_in_another_order(built: Project, project: Project) -> None:
    taken = "            **{key: record[key] for key in TRAVELS},\n"
    project.edit(SELECT, taken, taken + '            "classes": record["classes"][::-1],\n')
    done = project.snakemake("evaluate_all", *DIGITS)
    check_stopped(project, done, "output 0 of the model is '9', but '0' in the tensors", absent=[METRICS])
    check_passes(built, METRICS)


@pytest.mark.slow
def test_targets_in_another_order_than_the_index(built: Project, project: Project) -> None:
    # What was stored is read back by the same code, and the model learns it: only the index says otherwise.
    project.edit(WRITE, "self.classes.index(name)", "sorted(self.classes, reverse=True).index(name)")
    done = project.snakemake("evaluate_all", *SHORT)
    check_stopped(project, done, "0/", "is '0' in the index, but '9' in the tensors")
    check_passes(built, METRICS)
