"""A table of samples: whoever has labels in a spreadsheet gets these images, with these labels, or a clear word."""

from pathlib import Path

import pytest

from imagewright.config.layout import CsvManifest
from imagewright.errors import DataError
from imagewright.index.readers import Reader, Sample, open_reader


def manifest(raw: Path, text: str, *files: str, file: str = "manifest.csv") -> Reader:
    for name in files:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_text(name)
    (raw / file).parent.mkdir(parents=True, exist_ok=True)
    (raw / file).write_text(text)
    return open_reader(CsvManifest(kind="csv_manifest", file=file), raw)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_labels_splits_and_groups(tmp_path: Path, delimiter: str) -> None:
    lines = ["path,label,split,group", "10.png,cat,Train,anna", "9.png,dog,,", "deep/1.png,cat,validation,ben", ""]
    text = "\ufeff" + "\r\n".join(lines).replace(",", delimiter)
    reader = manifest(tmp_path, text, "9.png", "10.png", "deep/1.png", "not-listed.png")
    assert reader.samples() == [
        Sample("deep/1.png", "deep/1.png", label="cat", split="val", group="ben"),
        Sample("9.png", "9.png", label="dog"),
        Sample("10.png", "10.png", label="cat", split="train", group="anna"),
    ]
    assert reader.read("9.png") == b"9.png"


def test_masks(tmp_path: Path) -> None:
    reader = manifest(tmp_path, "Path;Mask\na.png;masks/a.png\n", "a.png", "masks/a.png")
    assert reader.samples() == [Sample("a.png", "a.png", mask="masks/a.png")]


def test_paths_start_at_the_folder_of_the_table(tmp_path: Path) -> None:
    reader = manifest(tmp_path, "path,label\n../b.png,cat\nc.png,dog\n", "b.png", "lists/c.png", file="lists/all.csv")
    assert [sample.path for sample in reader.samples()] == ["b.png", "lists/c.png"]


def test_a_label_may_hold_a_comma(tmp_path: Path) -> None:
    reader = manifest(tmp_path, 'path,label\na.png,"cat, black"\n', "a.png")
    assert reader.samples()[0].label == "cat, black"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label\ncat\n", "there is no column 'path', only 'label'"),
        ("", "there is no column 'path'"),
        ("path,label,path\na.png,cat,b.png\n", "two columns are called 'path'"),
        ("path,label\na.png,cat\nx.png,cat\ny.png,dog\n", r"2 files are not there; first: x.png \(line 3\)"),
        ("path,mask\na.png,m.png\n", r"1 files are not there; first: m.png \(line 2\)"),
        ("path,label\na.png,cat\n./a.png,dog\n", "line 3: a.png stands in line 2 already"),
        ("path,label,split\na.png,cat,tset\n", r"line 2: 'tset' is no split\n  did you mean 'test'"),
        ("path,label\n../../a.png,cat\n", "line 2: ../../a.png is outside of"),
        ("path,label\n/etc/hosts,cat\n", "line 2: /etc/hosts is outside of"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        ("path,label\na.png\n", "line 2: 1 values for 2 columns"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        manifest(tmp_path, text, "a.png").samples()
    assert len(str(caught.value).splitlines()) == 2


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.csv: No such file"):
        open_reader(CsvManifest(kind="csv_manifest"), tmp_path).samples()


def test_a_spreadsheet_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00\x00")
    with pytest.raises(DataError, match="no table in UTF-8"):
        open_reader(CsvManifest(kind="csv_manifest"), tmp_path).samples()


@pytest.mark.parametrize("file", ["/etc/passwd", "../manifest.csv"])
def test_the_table_lies_below_the_raw_data(file: str) -> None:
    with pytest.raises(ValueError, match="name a file below"):
        CsvManifest(kind="csv_manifest", file=file)
