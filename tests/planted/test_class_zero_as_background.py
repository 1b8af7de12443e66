"""Zero in BCSS masks taken for background: a model would learn "nothing here" where no pathologist has looked."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import QUICK, Project, make_project
from stopped import check_passes, check_stopped
from unit.public_data import CONFIGS, save

from imagewright.files import read_json

TILES = ("--config", "experiments=tiles")
DATA = "config/data/tiles.yaml"
WRITE = "src/imagewright/tensors/write.py"
INDEX = ("results/index/tiles/index.parquet", "results/index/tiles/report.json")
TENSORS = ("results/tensors/tiles-padded/meta.json", "results/tensors/tiles-padded/train.targets.npy")
METRICS = "results/evaluate/tiles/metrics.json"

HEIGHT, WIDTH, SIDE = 24, 32, 32
LIGHT = np.array([[240, 240, 240], [120, 40, 130], [230, 150, 190]])


def write_tiles(raw: Path) -> None:
    """Two tiles of each of 15 patients, in the ready form: tumour in stroma, and a border outside of the region."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(30):
        mask = np.full((HEIGHT, WIDTH), 2, np.uint8)
        mask[(rows - generator.integers(6, 18)) ** 2 + (columns - generator.integers(8, 24)) ** 2 < 36] = 1
        mask[:, : generator.integers(3, 8)] = 0
        light = LIGHT[mask] + generator.normal(0, 15, (HEIGHT, WIDTH, 3))
        split = "train" if number < 22 else "val"
        name = f"TCGA-A1-A{number // 2:03d}-DX1_xmin{number}_ymin0_MPP-0.2500.png"
        save(raw / split / name, np.clip(light, 0, 255).astype(np.uint8))
        save(raw / f"{split}_mask" / name, mask)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clean twin: tiles under the config that is shipped for them, stored with padded borders."""
    project = make_project(tmp_path_factory.mktemp("clean") / "project")
    write_tiles(project.root / "data/raw/tiles")
    shutil.copy2(CONFIGS / "tissue.yaml", project.root / DATA)
    form = {"height": SIDE, "width": SIDE, "colour": "rgb", "fit": "pad"}
    project.write_yaml("config/tensors/padded.yaml", form)
    choices = {"data": "tiles", "tensors": "padded", "model": "unet", "loss": "dice_ce"}
    training = {"epochs": 8, "batch_size": 8, "monitor": "dice"}
    project.write_yaml(
        "config/experiment/tiles.yaml",
        {"defaults": [{f"override /{group}": name} for group, name in choices.items()], "train": training, **QUICK},
        header="# @package _global_\n",
    )
    done = project.snakemake("tensors_all", *TILES)
    assert done.returncode == 0, done.stdout[-3000:]
    return project


@pytest.fixture
def tiles(clean: Project, tmp_path: Path) -> Project:
    """A copy of the clean twin, to change and run again."""
    shutil.copytree(clean.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_the_clean_twin(clean: Project) -> None:
    rows = pd.read_parquet(clean.root / INDEX[0])
    for split in ("train", "val", "test"):
        stored = np.load(clean.root / f"results/tensors/tiles-padded/{split}.targets.npy")
        for mask, row in zip(stored, rows[rows["split"] == split].itertuples(), strict=True):
            from PIL import Image

            written = np.asarray(Image.open(clean.root / "data/raw/tiles" / row.mask))
            expected = np.full((SIDE, SIDE), 255)
            expected[(SIDE - HEIGHT) // 2 : (SIDE + HEIGHT) // 2] = np.array([255, 1, 2])[written]
            np.testing.assert_array_equal(mask, expected)
        assert {1, 2, 255} == set(np.unique(stored).tolist())
    for split in clean.json(TENSORS[0])["splits"].values():
        assert split["targets"]["outside_roi"] == 0 < split["targets"]["stroma"]


@pytest.mark.parametrize("named", [[], pytest.param(["stroma"], marks=pytest.mark.proof)])
def test_a_config_that_does_not_ignore_it(clean: Project, tiles: Project, named: list[str]) -> None:
    config = yaml.safe_load((tiles.root / DATA).read_text())
    del config["ignore"]
    tiles.write_yaml(DATA, config | ({"ignore": named} if named else {}))
    done = tiles.snakemake("tensors_all", *TILES)
    check_stopped(tiles, done, DATA, "0 means outside of the region", "a class that stands in ignore")
    check_passes(clean, *INDEX, *TENSORS)


LOOKED_UP = "        return IGNORED if name in self.section.ignore else self.classes.index(name)\n"
RESIZED = "        return resize_mask(indices, self.section.input, outside=IGNORED)\n"


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        pytest.param(
            WRITE, LOOKED_UP, "        return self.classes.index(name)\n", ["known mask"], id="its-index-is-given"
        ),
        pytest.param(
            WRITE, RESIZED, RESIZED.replace("=IGNORED", "=0"), ["known mask"], id="padded-with-it"
        ),
        pytest.param(
            WRITE, RESIZED, f"        indices[indices == IGNORED] = 0\n{RESIZED}", ["known mask"],
            id="made-0-before-resizing", marks=pytest.mark.proof,
        ),
        pytest.param(
            "src/imagewright/imaging.py", "resampling, color=colour", "resampling", ["known mask"],
            id="padded-without-a-colour", marks=pytest.mark.proof,
        ),
        pytest.param(
            WRITE, "= image, target\n", "= image, np.where(np.equal(target, IGNORED), 0, target)\n",
            ["target stored for train/"], id="by-the-writer-alone", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_code_that_stores_it(clean: Project, tiles: Project, path: str, old: str, new: str, words: list[str]) -> None:
    tiles.edit(path, old, new)
    done = tiles.snakemake("tensors_all", *TILES)
    check_stopped(tiles, done, "tensors", *words, absent=TENSORS)
    check_passes(clean, *TENSORS)


@pytest.mark.slow
def test_code_that_trains_on_it(clean: Project, tiles: Project) -> None:
    # What is stored is right, but the loader gives those pixels to the loss and to the metric of val.
    tiles.edit("src/imagewright/tensors/dataset.py", "[targets == IGNORED] = IGNORE_INDEX", "[targets == IGNORED] = 0")
    done = tiles.snakemake("select_all", *TILES)
    check_stopped(tiles, done, "select: ", "history.csv says val dice", absent=["results/select/tiles/selection.json"])
    check_passes(clean, *TENSORS)


@pytest.mark.proof
def test_it_counts_in_no_metric(tiles: Project) -> None:
    done = tiles.snakemake("evaluate_all", *TILES)
    assert done.returncode == 0, done.stdout[-3000:]
    metrics = read_json(tiles.root / METRICS)
    assert {name for name in metrics if "/" in name} == {
        f"{metric}/{name}" for metric in ("dice", "iou") for name in ("tumor", "stroma")
    }
    by_class = [metrics[f"dice/{name}"]["value"] for name in ("tumor", "stroma")]
    assert metrics["dice"]["value"] == pytest.approx(np.mean(by_class), abs=1e-5)
    # Who always says "outside" is never right: a model would be better than that whatever it says.
    assert metrics["baseline"]["class"] == "stroma" and metrics["baseline"]["accuracy"] > 0.5
    predictions = pd.read_parquet(tiles.root / "results/evaluate/tiles/predictions.parquet")
    assert not [name for name in predictions.columns if name.endswith("/outside_roi")]
