"""The classes of a data set: their keys, their order, and the names under which people know them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagewright.config.names import nearest
from imagewright.errors import DataError
from imagewright.index.readers import Sample


def name_by_class(samples: Sequence[Sample], classes: Sequence[str] | None, names: Mapping[str, str]) -> list[Sample]:
    """Replace a label that is a class's name by the class's key: Kaggle's `boston_bull` becomes `n02096585`.

    Upper and lower case are alike in names, and so are spaces, underscores and hyphens. A label that is a key stays.

    Raises:
        DataError: two classes have this name.
    """
    keys_of: dict[str, list[str]] = {}
    for key, name in names.items():
        keys_of.setdefault(_plain(name), []).append(key)
    return [replace(sample, label=_key(sample.label, classes or (), keys_of)) for sample in samples]


def resolve_classes(
    samples: Sequence[Sample], declared: Sequence[str] | None, names: Mapping[str, str] | None = None
) -> list[str]:
    """The classes in the order of the model's outputs: as declared, else as the layout lists them.

    Raises:
        DataError: a label that was not declared, or fewer than two classes.
    """
    found = list(dict.fromkeys(sample.label for sample in samples if sample.label is not None))
    classes = list(declared or found)
    known = set(classes)
    if unknown := [label for label in found if label not in known]:
        raise DataError(
            f"{unknown[0]!r} is no declared class", nearest(unknown[0], [*classes, *(names or {}).values()])
        )
    if len(classes) < 2:
        raise DataError(f"only {len(classes)} class was found: {classes}", "a model needs at least two")
    return classes


def _key(label: str | None, classes: Sequence[str], keys_of: Mapping[str, Sequence[str]]) -> str | None:
    if label is None or label in classes:
        return label
    keys = keys_of.get(_plain(label), [label])
    if len(keys) > 1:
        raise DataError(
            f"{label!r} is the name of {len(keys)} classes: {', '.join(keys)}",
            "label these images with the class's key",
        )
    return keys[0]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
