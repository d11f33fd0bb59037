"""Class numbers that are off by one, of another data set, wrapped around, or the ignored label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import wsss_nonsalient as wn
from tests import reference
from tests.functions import CLASSES, FUNCTIONS, LABEL_FUNCTIONS, Function, arguments_of
from tests.helpers import assert_same

CLASS_AXIS = {"multi-hot": -1, "logits": -1, "weight": -1, "maps": -3, "raw": -3}
WITH_CLASSES = [
    (name, argument)
    for name, argument in arguments_of("maps", "raw", "multi-hot", "logits", "weight")
    if sum(kind in CLASS_AXIS for kind in FUNCTIONS[name].kinds.values()) > 1
]
LABELS = arguments_of("labels")
#: They take labels of any classes.
OF_ANY_CLASSES = ("ignore_sparse_labels", "random_walk_fill", "random_walk_fill, edges")
IN_RANGE = [(name, argument) for name, argument in LABELS if name not in OF_ANY_CLASSES]


@pytest.mark.parametrize(("name", "argument"), WITH_CLASSES)
@pytest.mark.parametrize("change", [1, -1])
def test_a_background_channel_too_many_is_refused(name: str, argument: str, change: int) -> None:
    """C against C + 1 channels, in either argument."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    own = arguments[argument]
    axis = CLASS_AXIS[function.kinds[argument]]
    index = torch.arange(own.shape[axis] + change).clamp(max=own.shape[axis] - 1)
    arguments[argument] = own.index_select(axis, index)
    message = r"expected C = \d, as \w+, got C = \d|expected C = \d, as num_classes"
    with pytest.raises(ValueError, match=message):
        function(arguments)


def test_the_error_tells_of_a_background_channel() -> None:
    cam = torch.rand(21, 7, 13)
    with pytest.raises(ValueError, match="foreground classes only, no background channel"):
        wn.initial_labels(cam, torch.zeros(7, 13), torch.ones(20))


@pytest.mark.parametrize(("name", "argument"), IN_RANGE)
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.uint8, CLASSES + 1),
        (torch.uint8, 254),
        (torch.int8, CLASSES + 1),
        (torch.int8, -1),
        (torch.int8, -128),
        (torch.int16, 256),
        (torch.int16, 255 - 2**16 // 2),
        (torch.int32, 65536),
        (torch.int64, 2**32),
        (torch.int64, 2**32 + 255),
        (torch.int64, -(2**63)),
        (torch.int64, -1),
        (torch.uint16, 65535),
        (torch.uint32, 2**32 - 1),
        (torch.uint64, 2**63 - 1),
    ],
    ids=str,
)
def test_one_label_out_of_range_is_named(
    name: str, argument: str, dtype: torch.dtype, value: int
) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    labels = arguments[argument].to(torch.int64)
    if dtype == torch.int8:
        if name == "SegmentationScore.update":
            pytest.skip("its ignored label is an option of the score")
        arguments = {k: _to_int8(v) if k in _labels_of(function) else v
                     for k, v in arguments.items()}  # fmt: skip
        options: dict[str, Any] = {"ignore_index": -2}
        labels = arguments[argument].to(torch.int64)
    else:
        options = {}
    function.call(**function.options, **arguments, **options)
    labels[0, 3, 4] = value
    arguments[argument] = torch.from_numpy(labels.numpy().astype(str(dtype).removeprefix("torch.")))
    with pytest.raises(ValueError, match=rf"^{argument}: expected labels 0 to \d or .*{value}$"):
        function.call(**function.options, **arguments, **options)


def _labels_of(function: Function) -> list[str]:
    return [name for name, kind in function.kinds.items() if kind == "labels"]


def _to_int8(labels: Tensor) -> Tensor:
    return labels.to(torch.int64).masked_fill(labels == 255, -2).to(torch.int8)


INDICES = [
    (torch.uint8, 254),
    (torch.uint8, 255),
    (torch.int8, -1),
    (torch.int8, -128),
    (torch.int8, 127),
    (torch.int16, -1),
    (torch.int16, 255),
    (torch.int32, 65535),
    (torch.int64, -1),
    (torch.int64, 65535),
    (torch.int64, -(2**63)),
    (torch.int64, 2**63 - 1),
    (torch.uint16, 65535),
    (torch.uint32, 2**32 - 1),
    (torch.uint64, 2**63 - 1),
]
WITH_LABELS = sorted({name for name, _ in LABELS if name in LABEL_FUNCTIONS})


@pytest.mark.parametrize("name", WITH_LABELS)
@pytest.mark.parametrize(("dtype", "index"), INDICES, ids=str)
def test_every_ignore_index_in_every_dtype(name: str, dtype: torch.dtype, index: int) -> None:
    """The same label map whatever number means ignored, also one that wraps to another label."""
    function = LABEL_FUNCTIONS[name]
    arguments = function.arguments()
    expected = function(arguments)

    def renamed(labels: Tensor) -> Tensor:
        values = labels.numpy().astype(str(dtype).removeprefix("torch."))
        values[labels.numpy() == 255] = index
        return torch.from_numpy(values)

    for argument in _labels_of(function):
        arguments[argument] = renamed(arguments[argument])
    result = function.call(**function.options, **arguments, ignore_index=index)
    assert_same(result, expected if expected.is_floating_point() else renamed(expected))


@pytest.mark.parametrize(("dtype", "index"), INDICES, ids=str)
def test_initial_labels_with_every_ignore_index(dtype: torch.dtype, index: int) -> None:
    arguments = LABEL_FUNCTIONS["initial_labels"].arguments()
    expected = wn.initial_labels(**arguments)
    got = wn.initial_labels(**arguments, ignore_index=index, dtype=dtype)
    assert got.dtype == dtype
    values = expected.numpy().astype(str(dtype).removeprefix("torch."))
    values[expected.numpy() == 255] = index
    np.testing.assert_array_equal(got.numpy(), values)


@pytest.mark.parametrize(("dtype", "index"), INDICES, ids=str)
def test_scores_with_every_ignore_index(dtype: torch.dtype, index: int) -> None:
    random = np.random.default_rng(0)
    target, prediction = random.integers(0, 5, (2, 7, 13))
    expected = wn.SegmentationScore(4)
    got = wn.SegmentationScore(4, ignore_index=index)

    def labels(numbers: Any, ignored: int, kind: Any) -> Tensor:
        values = numbers.astype(kind)
        values[numbers == 4] = ignored
        return torch.from_numpy(values)

    kind = str(dtype).removeprefix("torch.")
    expected.update(labels(prediction, 255, "uint8"), labels(target, 255, "uint8"))
    got.update(labels(prediction, index, kind), labels(target, index, kind))
    assert torch.equal(got.confusion, expected.confusion)


@pytest.mark.parametrize("name", [*WITH_LABELS, "initial_labels"])
@pytest.mark.parametrize("index", [0, 1, CLASSES])
def test_an_ignore_index_that_is_a_label_is_refused(name: str, index: int) -> None:
    if name in OF_ANY_CLASSES and index:
        pytest.skip("it does not know the number of classes")
    function = LABEL_FUNCTIONS[name]
    with pytest.raises(ValueError, match="^ignore_index: expected a value that is no label, got"):
        function.call(**function.options, **function.arguments(), ignore_index=index)
    with pytest.raises(ValueError, match="^ignore_index: expected a value that is no label, got"):
        wn.SegmentationScore(CLASSES + 1, ignore_index=index)


@pytest.mark.parametrize("name", [*WITH_LABELS, "initial_labels"])
@pytest.mark.parametrize(
    ("dtype", "index"),
    [(torch.uint8, -1), (torch.uint8, 256), (torch.int8, 255), (torch.int16, 65535),
     (torch.uint16, -1), (torch.int64, 2**63)],
    ids=str,
)  # fmt: skip
def test_an_ignore_index_that_the_dtype_cannot_hold_is_refused(
    name: str, dtype: torch.dtype, index: int
) -> None:
    function = LABEL_FUNCTIONS[name]
    arguments = function.arguments()
    for argument in _labels_of(function):
        arguments[argument] = torch.from_numpy(
            np.zeros((2, 7, 13), str(dtype).removeprefix("torch."))
        )
    options: dict[str, Any] = {"dtype": dtype} if name == "initial_labels" else {}
    with pytest.raises(ValueError, match="expected a dtype that holds the labels"):
        function.call(**function.options, **arguments, ignore_index=index, **options)


@pytest.mark.parametrize("name", ["pom_refine", "pom_thresholds", "nsrm_mask", "initial_labels"])
@pytest.mark.parametrize(("num_classes", "dtype"), [(255, torch.uint8), (127, torch.int8)])
def test_as_many_classes_as_a_dtype_holds(name: str, num_classes: int, dtype: torch.dtype) -> None:
    """254 classes and 255 fit in a byte; one class more does not, and is never wrapped around."""
    function = LABEL_FUNCTIONS[name]

    def call(classes: int) -> Tensor:
        arguments = function.arguments(num_classes=classes)
        for argument in _labels_of(function):
            arguments[argument] = torch.zeros(2, 7, 13, dtype=dtype)
        options: dict[str, Any] = {"dtype": dtype} if name == "initial_labels" else {}
        return function.call(
            **function.options, **arguments, **options, ignore_index=torch.iinfo(dtype).max
        )

    call(num_classes - 1)
    with pytest.raises(ValueError, match="expected a value that is no label"):
        call(num_classes)
    with pytest.raises(ValueError, match="that holds the labels|that is no label"):
        call(num_classes + 1)


def test_the_last_class_of_many_is_the_reference_s() -> None:
    """254 classes in a byte: label 254 beside 255."""
    arguments = LABEL_FUNCTIONS["initial_labels"].arguments(batch=(), num_classes=254)
    arguments["image_labels"][:] = 0
    arguments["image_labels"][[0, 126, 127, 253]] = 1
    labels = wn.initial_labels(**arguments)
    expected = reference.initial_labels(
        arguments["cam"].numpy(), arguments["saliency"].numpy(), arguments["image_labels"].numpy()
    )
    np.testing.assert_array_equal(labels.numpy(), expected)
    assert {127, 128, 254} <= set(labels.unique().tolist())


@pytest.mark.parametrize("name", [*WITH_LABELS, "initial_labels"])
@pytest.mark.parametrize("integer", [np.uint8, np.int64, np.uint16])
def test_options_of_numpy(name: str, integer: Any) -> None:
    """Numbers read from a NumPy array do as well as those of Python, and never wrap around."""
    function = LABEL_FUNCTIONS[name]
    arguments = function.arguments()
    result = function.call(**function.options, **arguments, ignore_index=integer(255))
    assert_same(result, function.call(**function.options, **arguments))
    with torch.inference_mode():
        traced = torch.compile(function.call, backend="eager")
        torch.compiler.reset()
        assert_same(traced(**function.options, **arguments).clone(), result)


def test_ids_of_coco_are_not_class_numbers() -> None:
    """Category 90 of 80 classes: labels 1 to 90 leave the range and are told."""
    labels = torch.tensor([[0, 90]])
    with pytest.raises(ValueError, match="labels: expected labels 0 to 80 or 255 .*got 90"):
        wn.pom_refine(labels, torch.zeros(80, 1, 2), torch.zeros(80))
    score = wn.SegmentationScore(81)
    with pytest.raises(ValueError, match="target: expected labels 0 to 80 or 255 .*got 90"):
        score.update(labels * 0, labels)
