"""Bad input is named, not guessed at: what is wrong, where, and what to do, in two lines and without a traceback.

Without these a newcomer's first run would end in somebody else's exception, or go on with what should not be there.
"""

import io
import re
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Project
from PIL import Image
from stopped import DIGITS, SHAPES, check_stopped

from imagewright.files import sha256

DIGITS_INDEX = ["results/index/digits8"]
SHAPES_INDEX = ["results/index/shapes"]


def picture(kind: str) -> bytes:
    """64×64 noise, encoded."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A valid grey PNG of side × side black pixels, a multiple of 1,000, without ever holding them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    # After a full flush the compressor knows nothing of what came before, so equal rows give equal bytes.
    compressor = zlib.compressobj(9, wbits=-15)
    rows = compressor.compress(bytes((side + 1) * 1000)) + compressor.flush(zlib.Z_FULL_FLUSH)
    count = (side + 1) * side
    adler = struct.pack(">HH", count % 65521, 1)  # of zeros, RFC 1950
    content = b"\x78\x9c" + rows * (side // 1000) + compressor.flush() + adler
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def change_config(project: Project, path: str, header: str = "", **values: Any) -> None:
    """Set keys of a file of `config/`; a value that is a mapping is merged."""
    config = yaml.safe_load((project.root / path).read_text())
    for key, value in values.items():
        config[key] = config.get(key, {}) | value if isinstance(value, dict) else value
    project.write_yaml(path, config, header)


def change_experiment(project: Project, name: str = "digits8", **values: Any) -> None:
    change_config(project, f"config/experiment/{name}.yaml", "# @package _global_\n", **values)


# What lies in the raw folder.


def test_no_raw_folder(unbuilt: Project) -> None:
    shutil.rmtree(unbuilt.root / "data/raw/digits8")
    done = unbuilt.snakemake("fetch_all", *DIGITS)
    check_stopped(
        unbuilt, done, "data/raw/digits8: there is no such folder", "put the raw images",
        absent=["data/raw/digits8.json", "data/raw/digits8"],
    )  # fmt: skip


def test_empty_raw_folder(unbuilt: Project) -> None:
    shutil.rmtree(unbuilt.root / "data/raw/digits8")
    (unbuilt.root / "data/raw/digits8").mkdir()
    done = unbuilt.snakemake("fetch_all", *DIGITS)
    check_stopped(
        unbuilt, done, "data/raw/digits8: there are no files", "put the raw images", absent=["data/raw/digits8.json"]
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.jpg", b"To do: label these pictures.\n", "no picture, whatever the name says"),
        pytest.param("nothing.png", b"", "the file is empty", marks=pytest.mark.proof),
        ("half.png", picture("PNG")[:2000], "cut short or broken"),
        pytest.param("half.jpg", picture("JPEG")[:2000], "cut short or broken", marks=pytest.mark.proof),
    ],
    ids=["text", "empty", "half-png", "half-jpeg"],
)
def test_unreadable_image(unbuilt: Project, name: str, content: bytes, reason: str) -> None:
    (unbuilt.root / "data/raw/digits8/3" / name).write_bytes(content)
    done = unbuilt.snakemake("index_all", *DIGITS)
    message = check_stopped(
        unbuilt, done, "1 of 301 images cannot be used, more than data.max_unreadable (0.00%)", f"first: 3/{name}: ",
        reason, "replace or remove them", "logs/index/digits8/unreadable.csv", absent=DIGITS_INDEX,
    )  # fmt: skip
    assert f"3/{name}" in (unbuilt.root / "logs/index/digits8/unreadable.csv").read_text()
    # Snakemake's own account of a failure is long, so the two lines stand near its end once more.
    last = "\n".join(done.stdout.rstrip().splitlines()[-8:])
    assert f"{message}\n  (from logs/index/digits8/job.log)" in last


def test_few_unreadable_images_are_listed(unbuilt: Project) -> None:
    (unbuilt.root / "data/raw/digits8/3/notes.jpg").write_text("To do")
    change_config(unbuilt, "config/data/digits8.yaml", max_unreadable=0.01)
    done = unbuilt.snakemake("index_all", *DIGITS)
    assert done.returncode == 0, done.stdout
    report = unbuilt.json("results/index/digits8/report.json")
    assert report["left_out"]["unreadable"] == [
        {"path": "3/notes.jpg", "reason": "the content is no picture, whatever the name says"}
    ]
    assert report["images"] == 300


def test_enormous_image_is_refused_by_its_header(unbuilt: Project) -> None:
    content = huge_png(30_000)
    assert len(content) < 2_000_000
    (unbuilt.root / "data/raw/digits8/3/huge.png").write_bytes(content)
    command = ["snakemake", "--cores", "2", "index_all", *DIGITS]
    peak_kb = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = unbuilt.run(sys.executable, "-c", peak_kb, sys.executable, "-m", *command)
    check_stopped(unbuilt, done, "3/huge.png: 30000x30000 pixels are more than the limit", absent=DIGITS_INDEX)
    # 900 MB decoded; the largest process of a usual run of this stage needs 0.2 GB.
    assert int(re.findall(r"^peak (\d+)", done.stdout, re.MULTILINE)[0]) < 500_000


def test_enormous_image_of_the_test_is_a_picture() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(huge_png(1000))))
    assert pixels.shape == (1000, 1000) and not pixels.any()


def spoil_value(project: Project) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[4, 4] = 7
    Image.fromarray(mask).save(project.root / "data/raw/shapes/masks/05.png")


def spoil_size(project: Project) -> None:
    Image.fromarray(np.zeros((16, 24), np.uint8)).save(project.root / "data/raw/shapes/masks/05.png")


def spoil_pair(project: Project) -> None:
    (project.root / "data/raw/shapes/masks/05.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_value, ["1 masks hold undeclared values", "masks/05.png holds [7]", "declare them under `classes`"]),
        (spoil_size, ["images/05.png", "masks/05.png: 24x16 pixels, but its image is 32x32", "replace or remove"]),
        (spoil_pair, ["data/raw/shapes", "'05' has an image but no mask", "masks/", "or remove it"]),
    ],
)
def test_bad_mask(unbuilt: Project, spoil: Callable[[Project], None], words: list[str]) -> None:
    spoil(unbuilt)
    done = unbuilt.snakemake("index_all", *SHAPES)
    check_stopped(unbuilt, done, *words, absent=SHAPES_INDEX)


def test_class_with_one_image(unbuilt: Project) -> None:
    for path in sorted((unbuilt.root / "data/raw/digits8/3").glob("*.png"))[1:]:
        path.unlink()
    done = unbuilt.snakemake("index_all", *DIGITS)
    check_stopped(
        unbuilt, done, "class '3' has 1 image, fewer than data.min_images_per_class (3)", "add images",
        absent=DIGITS_INDEX,
    )  # fmt: skip


# Archives.


def zipped(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("3/00.png", picture("PNG"))
        archive.writestr(member, picture("PNG"))


def tarred(path: Path, member: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("3/00.png", member):
            info = tarfile.TarInfo(name)
            info.size = len(picture("PNG"))
            archive.addfile(info, io.BytesIO(picture("PNG")))


def use_archive(project: Project, path: Path, digest: str) -> None:
    shutil.rmtree(project.root / "data/raw/digits8")
    source = {"kind": "archive", "url": path.as_uri(), "sha256": digest}
    config = yaml.safe_load((project.root / "config/data/digits8.yaml").read_text())
    project.write_yaml("config/data/digits8.yaml", config | {"source": source})


@pytest.mark.parametrize("pack", [zipped, pytest.param(tarred, marks=pytest.mark.proof)])
def test_archive_that_leaves_its_folder(unbuilt: Project, tmp_path: Path, pack: Callable[[Path, str], None]) -> None:
    pack(tmp_path / "archive", "../../escaped.png")
    use_archive(unbuilt, tmp_path / "archive", sha256(tmp_path / "archive"))
    before = set((unbuilt.root / "data/raw").iterdir())
    done = unbuilt.snakemake("fetch_all", *DIGITS)
    check_stopped(
        unbuilt, done, f"{tmp_path}/archive", "'../../escaped.png' leaves the folder", "do not use this archive",
        absent=["data/raw/digits8.json", "data/raw/digits8", "data/escaped.png", "escaped.png"],
    )  # fmt: skip
    assert set((unbuilt.root / "data/raw").iterdir()) == before


def test_archive_with_another_checksum(unbuilt: Project, tmp_path: Path) -> None:
    zipped(tmp_path / "archive", "4/00.png")
    use_archive(unbuilt, tmp_path / "archive", "0" * 64)
    done = unbuilt.snakemake("fetch_all", *DIGITS)
    check_stopped(
        unbuilt, done, f"{tmp_path}/archive", sha256(tmp_path / "archive"), "0" * 64, "source.sha256",
        absent=["data/raw/digits8.json", "data/raw/digits8"],
    )  # fmt: skip


# Configuration.


def unknown_key(project: Project) -> None:
    change_experiment(project, train={"epoch": 3})


def unknown_model_file(project: Project) -> None:
    project.edit("config/experiment/digits8.yaml", "override /model: resnet10t", "override /model: resnet10")


def unknown_loss_file(project: Project) -> None:
    project.edit("config/experiment/shapes.yaml", "override /loss: dice_ce", "override /loss: dice_cee")


def unknown_loss(project: Project) -> None:
    project.edit("config/loss/cross_entropy.yaml", "name: cross_entropy", "name: cross_entrophy")


def overridden_data(project: Project) -> None:
    change_experiment(project, data={"duplicates": "report"})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unknown_key, ["config/experiment/digits8.yaml", "unknown key 'train.epoch'", "did you mean", "train.epochs"]),
        (unknown_model_file, ["config/experiment/digits8.yaml", "config/model/resnet10.yaml", "'resnet10t'"]),
        (unknown_loss_file, ["config/experiment/shapes.yaml", "config/loss/dice_cee.yaml", "'dice_ce'"]),
        (unknown_loss, ["config/loss/cross_entropy.yaml", "loss.name is 'cross_entrophy'", "'cross_entropy'"]),
        (overridden_data, ["config/experiment/digits8.yaml", "data.duplicates", "config/data/", "override /data"]),
    ],
)
def test_bad_config(unbuilt: Project, spoil: Callable[[Project], None], words: list[str]) -> None:
    spoil(unbuilt)
    done = unbuilt.snakemake("-n")
    check_stopped(unbuilt, done, *words, absent=["results"])


def test_data_overridden_for_one_run(unbuilt: Project) -> None:
    done = unbuilt.snakemake("-n", *DIGITS, "overrides=[data.duplicates=report]")
    check_stopped(unbuilt, done, "data.duplicates=report", "config/data/", absent=["results"])


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        pytest.param(
            "config/model/resnet10t.yaml", "name: resnet10t", "name: resnet10tt",
            ["model.name", "timm has no model 'resnet10tt'", "did you mean", "'resnet10t'"], id="model",
        ),
        pytest.param(
            "config/optimizer/adamw.yaml", "name: adamw", "name: adamww",
            ["optimizer.name", "timm has no optimizer 'adamww'", "did you mean", "'adamw'"], id="optimizer",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            "config/optimizer/adamw.yaml", "arguments: {}", "arguments: {momentun: 0.9}",
            ["optimizer.arguments", "momentun", "config/optimizer/"], id="optimizer-arguments",
            marks=pytest.mark.proof,
        ),
        pytest.param(
            "config/model/resnet10t.yaml", "arguments: {}", "arguments: {blocks: 3}",
            ["model.arguments", "blocks", "config/model/"], id="model-arguments", marks=pytest.mark.proof,
        ),
    ],
)  # fmt: skip
def test_name_that_a_library_does_not_know(project: Project, path: str, old: str, new: str, words: list[str]) -> None:
    project.edit(path, old, new)
    done = project.snakemake("train_all", *DIGITS)
    check_stopped(project, done, *words, absent=["results/train/digits8/default"])


@pytest.mark.parametrize(
    ("broken", "stage"),
    [
        ("results/select/digits8/selection.json", "export"),
        ("results/benchmark/gate.json", "bundle"),
    ],
)
def test_result_that_is_broken(project: Project, broken: str, stage: str) -> None:
    # As after a full disk or a bad sector: half of what was written.
    whole = project.root / broken
    whole.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text('{"task": ')
    if stage == "bundle":
        # What Snakemake measured here goes before what is recorded.
        (project.root / "results/benchmark/gate/digits8.tsv").unlink()
    done = project.snakemake(f"{stage}_all", "--forcerun", stage, *DIGITS)
    check_stopped(project, done, f"{broken}: it is broken, no JSON", "imagewright pull")
