"""Files on their way through a bucket, and the part on the VM: whole and the right ones, or an error."""

import json
import os
from pathlib import Path

import pytest
from clones import BUCKET
from storage_emulator import delete, upload

from imagewright.files import sha256, write_json
from snakemake_executor_plugin_imagewright_batch import vm
from snakemake_executor_plugin_imagewright_batch.store import Damaged, Store

Files = dict[str, bytes]


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    return Store(f"gs://{BUCKET}/{tmp_path.name}")


def write(root: Path, files: Files) -> list[str]:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return list(files)


def images(root: Path, files: Files) -> str:
    """A folder of raw images, and its manifest."""
    write(root / "data/raw/toy", files)
    about = {
        name: {"bytes": len(content), "sha256": sha256(root / "data/raw/toy" / name)} for name, content in files.items()
    }
    write_json(root / "data/raw/toy.json", {"source": {}, "files": about})
    return "data/raw/toy.json"


def test_files_go_and_come(store: Store, tmp_path: Path) -> None:
    listing = store.put(tmp_path / "here", write(tmp_path / "here", {"a/b.txt": b"one", "a/c.txt": b"", "d": b"one"}))
    assert set(listing) == {"a/b.txt", "a/c.txt", "d"} and listing["d"] == listing["a/b.txt"]
    store.get(tmp_path / "there", listing)
    found = {str(path.relative_to(tmp_path / "there")): path.read_bytes() for path in (tmp_path / "there").rglob("*.*")}
    assert found == {"a/b.txt": b"one", "a/c.txt": b""} and (tmp_path / "there/d").read_bytes() == b"one"


def test_what_is_damaged_is_refused_and_then_replaced(store: Store, endpoint: str, tmp_path: Path) -> None:
    paths = write(tmp_path, {"a.txt": b"one"})
    listing = store.put(tmp_path, paths)
    name = f"{store.folder}objects/{listing['a.txt']}"
    upload(endpoint, BUCKET, name, b"other")
    with pytest.raises(Damaged, match=f"gcloud storage rm gs://{BUCKET}/{name}"):
        store.get(tmp_path / "there", listing)
    assert list((tmp_path / "there").iterdir()) == []
    # The next run sends it again.
    Store(store.url).put(tmp_path, paths)
    store.get(tmp_path / "there", listing)
    assert (tmp_path / "there/a.txt").read_bytes() == b"one"


def test_raw_images_go_and_come(store: Store, tmp_path: Path) -> None:
    files = {"x/1.png": b"first", "x/2.png": b"second", "y/1.png": b""}
    manifest, told = images(tmp_path / "here", files), list[str]()
    store.put_raw(tmp_path / "here", manifest, told.append)
    store.put_raw(tmp_path / "here", manifest, told.append)
    assert told == [f"Sending the raw images of toy to {store.url}: 3 files, 0 MB"]
    (tmp_path / "there/data/raw").mkdir(parents=True)
    (tmp_path / "there" / manifest).write_bytes((tmp_path / "here" / manifest).read_bytes())
    store.get_raw(tmp_path / "there", manifest)
    assert {name: (tmp_path / "there/data/raw/toy" / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("change", ["another image", "one is missing", "one too many"])
def test_raw_images_are_the_listed_ones(store: Store, tmp_path: Path, change: str) -> None:
    files = {"1.png": b"first", "2.png": b"second"}
    manifest = images(tmp_path, files)
    store.put_raw(tmp_path, manifest, print)
    content = json.loads((tmp_path / manifest).read_text())
    other = {
        "another image": {"1.png": b"tsrif", "2.png": b"second"},
        "one is missing": {"1.png": b"first"},
        "one too many": files | {"3.png": b"third"},
    }[change]
    # An archive of other images under this manifest's name: sent by somebody whose images were edited after fetching.
    pretended = Store(f"{store.url}/other")
    write(tmp_path / "edited/data/raw/toy", other)
    (tmp_path / "edited" / manifest).write_text(
        json.dumps(content | {"files": {name: {"bytes": 1, "sha256": ""} for name in other}})
    )
    pretended.put_raw(tmp_path / "edited", manifest, print)
    (archive,) = pretended.bucket.list_blobs(prefix=f"{pretended.folder}raw/")
    (target,) = store.bucket.list_blobs(prefix=f"{store.folder}raw/")
    target.upload_from_string(archive.download_as_bytes())
    with pytest.raises(Damaged, match=r"toy/1.png is not|2.png among them|3.png is not in"):
        store.get_raw(tmp_path, manifest)


def order(store: Store, root: Path, **values: object) -> None:
    given = {"inputs": {}, "raw": [], "outputs": [], "log": "logs/toy/job.log", "evidence": ["logs/toy"]}
    store.write("jobs/one/order.json", {**given, "checkpoints": "same", **values})
    root.mkdir()
    os.chdir(root)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "vm"


def test_a_vm_does_what_is_ordered(store: Store, machine: Path, tmp_path: Path) -> None:
    inputs = store.put(tmp_path, write(tmp_path, {"in.txt": b"one"}))
    order(
        store,
        machine,
        command="mkdir -p logs/toy; cat in.txt > out.txt; touch logs/toy/job.log",
        inputs=inputs,
        outputs=["out.txt"],
    )
    assert vm.main(store.url, "one") == 0
    made = store.read("jobs/one/made.json")
    assert made == {"out.txt": inputs["in.txt"], "logs/toy/job.log": sha256(machine / "logs/toy/job.log")}


def test_a_vm_sends_evidence_of_a_failure_and_no_output(store: Store, machine: Path) -> None:
    order(
        store,
        machine,
        command="mkdir -p logs/toy; echo why | tee out.txt > logs/toy/job.log; exit 7",
        outputs=["out.txt"],
    )
    assert vm.main(store.url, "one") == 7
    assert set(store.read("jobs/one/made.json")) == {"logs/toy/job.log"}


def test_a_vm_without_its_input_says_so(store: Store, endpoint: str, machine: Path, tmp_path: Path) -> None:
    inputs = store.put(tmp_path, write(tmp_path, {"in.txt": b"one"}))
    upload(endpoint, BUCKET, f"{store.folder}objects/{inputs['in.txt']}", b"other")
    order(store, machine, command="touch out.txt", inputs=inputs, outputs=["out.txt"])
    assert vm.main(store.url, "one") == 1
    assert "error: in.txt: gs://" in (machine / "logs/toy/job.log").read_text()
    assert set(store.read("jobs/one/made.json")) == {"logs/toy/job.log"} and not (machine / "out.txt").exists()
    delete(endpoint, BUCKET, f"{store.folder}objects/{inputs['in.txt']}")
    assert vm.main(store.url, "one") == 1
    assert "404" in (machine / "logs/toy/job.log").read_text()


def test_a_vm_of_another_image_refuses(store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order(store, machine, command="touch out.txt", outputs=["out.txt"])
    write(machine, {"requirements.lock": b"torch==2", "image.lock": b"torch==1"})
    monkeypatch.setenv("IMAGEWRIGHT_IMAGE_LOCK", str(machine / "image.lock"))
    assert vm.main(store.url, "one") == 1
    assert "was built from another requirements.lock" in (machine / "logs/toy/job.log").read_text()


def test_checkpoints_stay_until_the_outputs_are_sent(
    store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "KEEP_EVERY_S", 0.05)
    folder = "runs/train/toy/default"
    first = f"mkdir -p {folder}; echo 7 > {folder}/last.pt; echo half > {folder}/.last.pt.partial; sleep 1; exit 1"
    order(store, machine, command=first)
    assert vm.main(store.url, "one") == 1
    machine.rename(machine.with_name("gone"))
    # A fresh machine goes on from it, and removes it at its end, as a training does.
    order(
        store,
        machine,
        command=f"cat {folder}/last.pt > out.txt; ls -A {folder} >> out.txt; rm -r {folder}",
        outputs=["out.txt"],
    )
    assert vm.main(store.url, "one") == 0
    assert (machine / "out.txt").read_text() == "7\nlast.pt\n"
    assert list(store.bucket.list_blobs(prefix=f"{store.folder}checkpoints/")) == []


@pytest.mark.parametrize("url", ["bucket/folder", "s3://bucket", "gs://"])
def test_an_address_that_is_none(endpoint: str, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    with pytest.raises(ValueError, match="not an address as gs://"):
        Store(url)
