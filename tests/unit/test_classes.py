"""Classes: their order, which is that of the model's outputs, and the names that count as them."""

import pytest

from imagewright.errors import DataError
from imagewright.index.classes import name_by_class, resolve_classes
from imagewright.index.readers import Sample

DOGS = {"n02085620": "Chihuahua", "n02096585": "Boston bull", "n02099267": "flat-coated retriever"}


def labelled(*labels: str) -> list[Sample]:
    return [Sample(id=str(number), path=f"{number}.png", label=label) for number, label in enumerate(labels)]


def test_classes_as_declared_or_as_found() -> None:
    samples = labelled("9", "10", "9")
    assert resolve_classes(samples, None) == ["9", "10"]
    assert resolve_classes(samples, ["10", "9", "8"]) == ["10", "9", "8"]


def test_a_label_that_was_not_declared() -> None:
    with pytest.raises(DataError, match=r"'catt' is no declared class\n  did you mean 'cat'\?"):
        resolve_classes(labelled("cat", "dog", "catt"), ["cat", "dog"])


def test_a_single_class() -> None:
    with pytest.raises(DataError, match=r"only 1 class was found: \['cat'\]"):
        resolve_classes(labelled("cat", "cat"), None)


def test_a_name_counts_as_its_class() -> None:
    # Kaggle's breeds and Stanford's ids are the same classes, and a model of one can be judged on the other.
    written = ("boston_bull", "Flat coated-Retriever", "CHIHUAHUA", "n02096585")
    found = [sample.label for sample in name_by_class(labelled(*written), list(DOGS), DOGS)]
    assert found == ["n02096585", "n02099267", "n02085620", "n02096585"]


def test_a_key_stays_even_if_another_class_has_it_for_a_name() -> None:
    assert [s.label for s in name_by_class(labelled("1"), ["1", "2"], {"1": "one", "2": "1"})] == ["1"]


def test_a_name_of_two_classes() -> None:
    # ImageNet has two cranes: a bird and a machine.
    with pytest.raises(DataError, match="'Crane' is the name of 2 classes: n1, n2"):
        name_by_class(labelled("Crane"), ["n1", "n2"], {"n1": "crane", "n2": "crane"})


def test_an_unknown_name() -> None:
    samples = name_by_class(labelled("boston_bul"), list(DOGS), DOGS)
    with pytest.raises(DataError, match=r"'boston_bul' is no declared class\n  did you mean 'Boston bull'"):
        resolve_classes(samples, list(DOGS), DOGS)
