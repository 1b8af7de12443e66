"""What a Workflow Run RO-Crate must be, rule by rule, read back with the library as another tool would read it.

The rules with MUST of RO-Crate 1.1, Workflow RO-Crate 1.0, Process Run Crate 0.5 and Workflow Run Crate 0.5.
rocrate-validator checks the same, but wants the network for its vocabularies and an older `rich` than DVC has here.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

from imagewright.files import sha256

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}


def check_crate(folder: Path) -> ROCrate:
    """Check every rule and return the crate, to look at what it says."""
    text = json.loads((folder / METADATA).read_text())
    _check_graph(text)
    crate = ROCrate(folder)
    _check_root(crate)
    _check_files(crate, folder)
    _check_workflow(crate)
    _check_actions(crate)
    return crate


def _check_graph(text: dict[str, Any]) -> None:
    assert set(text) == {"@context", "@graph"}
    assert text["@context"] == [
        "https://w3id.org/ro/crate/1.1/context",
        "https://w3id.org/ro/terms/workflow-run/context",
    ]
    names = [entity["@id"] for entity in text["@graph"]]
    assert len(set(names)) == len(names)
    for entity in text["@graph"]:
        assert entity["@type"]
        for name in _references(entity):
            # What is not described here is on the web, never a file that happens to lie somewhere.
            assert name in names or name.startswith("https://"), name
        for value in entity.values():
            # Flat: an entity is referred to, never nested.
            for part in value if isinstance(value, list) else [value]:
                assert not isinstance(part, dict) or set(part) == {"@id"}


def _references(entity: dict[str, Any]) -> Iterator[str]:
    for value in entity.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield part["@id"]


def _check_root(crate: ROCrate) -> None:
    about, root = crate.metadata, crate.root_dataset
    assert (about.id, about.type, about["about"]) == (METADATA, "CreativeWork", root)
    assert "https://w3id.org/ro/crate/1.1" in [one if isinstance(one, str) else one.id for one in about["conformsTo"]]
    assert (root.id, root.type) == ("./", "Dataset")
    assert root["name"] and root["description"] and root["license"]["description"]
    assert datetime.fromisoformat(root["datePublished"]).tzinfo
    assert {profile.id for profile in root["conformsTo"]} == PROFILES
    assert {profile.type for profile in root["conformsTo"]} == {"CreativeWork"}


def _check_files(crate: ROCrate, folder: Path) -> None:
    files = crate.get_by_type("File")
    assert files and set(files) == set(crate.root_dataset["hasPart"])
    assert {file.id for file in files} == {path.name for path in folder.iterdir()} - {METADATA}
    for file in files:
        path = folder / file.id
        assert (file["contentSize"], file["sha256"]) == (str(path.stat().st_size), sha256(path))
        assert file["name"] and file["encodingFormat"]


def _check_workflow(crate: ROCrate) -> None:
    main = crate.mainEntity
    assert set(main.type) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert main in crate.root_dataset["hasPart"]
    assert main["programmingLanguage"].type == "ComputerLanguage"


def _check_actions(crate: ROCrate) -> None:
    (action,) = crate.get_by_type("CreateAction")
    assert action["instrument"] is crate.mainEntity
    assert crate.root_dataset["mentions"] is action
    assert datetime.fromisoformat(action["endTime"]).tzinfo
    allowed = {"File", "Dataset", "Collection", "CreativeWork", "PropertyValue"}
    for entity in action["object"] + action["result"]:
        assert entity.type in allowed
    for use in action.get("resourceUsage", []):
        assert use.type == "PropertyValue" and use["propertyID"] and use["unitCode"]
