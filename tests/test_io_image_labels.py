"""Image-level labels and lists of ids in the ways that people keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import io_files
from tests.io_files import annotation, object_npy, plain_npy
from wsss_nonsalient.io import VOC_CLASSES, list_ids, read_image_labels, write_image_labels

LABELS = {"2007_000032": (0, 14), "2007_000033": (), "2007_000039": (19,)}
COCO_IDS = [n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def save(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def multi_hot(classes: tuple[int, ...], dtype: str = "float32") -> Any:
    return np.isin(np.arange(20), classes).astype(dtype)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n \n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_text(start: str, end: str, tmp_path: Path) -> None:
    line = "\r\n" if "\r" in end else "\n"
    rows = ["2007_000032 14 0 14", "2007_000033", "2007_000039\t19 "]
    path = save(tmp_path, "a.txt", start + line.join(rows) + end)
    assert read_image_labels(path) == LABELS
    assert read_image_labels(str(path), format="text", num_classes=20) == LABELS
    assert list_ids(path) == list(LABELS)


def test_json(tmp_path: Path) -> None:
    path = save(tmp_path, "a.json", json.dumps({k: list(v)[::-1] for k, v in LABELS.items()}))
    assert read_image_labels(path) == LABELS
    assert read_image_labels(save(tmp_path, "b", path.read_bytes()), format="json") == LABELS


def test_wanted_ids(tmp_path: Path) -> None:
    path = save(tmp_path, "a.txt", "a 1\nb\nc 2")
    assert list(read_image_labels(path, ids=["c", "a"]).items()) == [("c", (2,)), ("a", (1,))]
    with pytest.raises(ValueError, match=rf"^{path}: 2 of 3 images are not in it, such as x"):
        read_image_labels(path, ids=["a", "x", "y"])
    for ids, message in ((["../a"], "without a folder"), (["a", "a"], "one twice")):
        with pytest.raises(ValueError, match=f"ids: .*{message}"):
            read_image_labels(path, ids=ids)
    with pytest.raises(TypeError, match="ids: expected several strings, got one"):
        read_image_labels(path, ids="abc")


@pytest.mark.parametrize("dtype", ["float32", ">f8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("core", [io_files.NUMPY_1, io_files.NUMPY_2])
def test_cls_labels(core: str, dtype: str, tmp_path: Path) -> None:
    for keys in (
        list(LABELS),
        [np.int32(k.replace("_", "")) for k in LABELS],
        [int(k.replace("_", "")) for k in LABELS],
        [np.str_(k) for k in LABELS],
    ):
        value = {k: multi_hot(v, dtype) for k, v in zip(keys, LABELS.values(), strict=True)}
        path = save(tmp_path, "cls_labels.npy", object_npy(value, 3, core))
        assert read_image_labels(path) == LABELS
    tensors = {k: torch.from_numpy(multi_hot(v)) for k, v in LABELS.items()}
    assert read_image_labels(save(tmp_path, "a.npy", object_npy(tensors))) == LABELS
    lists = {k: multi_hot(v).tolist() for k, v in LABELS.items()}
    assert read_image_labels(save(tmp_path, "a.npy", object_npy(lists))) == LABELS


def test_numbers_as_ids(tmp_path: Path) -> None:
    value = {9: multi_hot((1,)), np.int64(581929): multi_hot(()), 7: multi_hot((3,))}
    path = save(tmp_path, "a.npy", object_npy(value))
    with pytest.raises(ValueError, match=rf"^{path}: it has the number 9 as an id; .* ids"):
        read_image_labels(path)
    for form in ("{:012d}", "COCO_train2014_{:012d}"):
        ids = [form.format(9), form.format(581929)]
        assert read_image_labels(path, ids=ids) == {ids[0]: (1,), ids[1]: ()}
    with pytest.raises(ValueError, match="have the same number"):
        read_image_labels(path, ids=["9", "09"])


def test_a_plain_array_needs_ids(tmp_path: Path) -> None:
    array = np.stack([multi_hot(classes) for classes in LABELS.values()])
    path = save(tmp_path, "a.npy", plain_npy(array))
    assert read_image_labels(path, ids=list(LABELS), num_classes=20) == LABELS
    with pytest.raises(ValueError, match=rf"^{path}: it has no ids of its own"):
        read_image_labels(path)
    with pytest.raises(ValueError, match=rf"^{path}: it has 3 rows, but there are 1 ids"):
        read_image_labels(path, ids=["a"])


def test_voc_annotations(tmp_path: Path) -> None:
    save(tmp_path, "b.xml", annotation("person", "aeroplane", "person", part="head"))
    save(tmp_path, "a.xml", annotation())
    save(tmp_path, "c.xml", annotation(*VOC_CLASSES))
    save(tmp_path, "notes.txt", "")
    expected = {"a": (), "b": (0, 14), "c": tuple(range(20))}
    labels = read_image_labels(tmp_path)
    assert labels == expected
    assert list(labels) == ["a", "b", "c"]
    assert read_image_labels(tmp_path, ids=["b"]) == {"b": (0, 14)}
    with pytest.raises(FileNotFoundError):
        read_image_labels(tmp_path, ids=["d"])


def test_odd_annotations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    entity = '<!DOCTYPE a [<!ENTITY x "dog">]><annotation>&x;</annotation>'
    outside = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'
    cases = [
        (annotation("unicorn"), "'unicorn' is no class of PASCAL VOC"),
        (annotation("dog")[:-5], ""),
        (b"", ""),
        (b"<html/>", "expected a VOC annotation, got other XML"),
        (entity.encode(), "has a document type"),
        (entity.encode("utf-16"), "has a document type"),
        (outside.encode(), "has a document type"),
        (annotation("x" * 1000), "more than 200 characters"),
        (b"<annotation>" * 100_000, ""),
    ]
    for data, message in cases:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
            read_image_labels(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=rf"^{tmp_path}: expected VOC annotations"):
        read_image_labels(tmp_path)


def coco() -> dict[str, Any]:
    names = ["000000000009.jpg", "000000000025.jpg", "COCO_train2014_000000000030.jpg"]
    return {
        "images": [{"id": int(n[-16:-4]), "file_name": n} for n in names],
        "annotations": [
            {"image_id": 9, "category_id": 90},
            {"image_id": 9, "category_id": 13, "iscrowd": 1},
            {"image_id": 9, "category_id": 90},
            {"image_id": 30, "category_id": 1},
        ],
        "categories": [{"id": n, "name": str(n)} for n in reversed(COCO_IDS)],
    }


def test_coco(tmp_path: Path) -> None:
    expected = {
        "000000000009": (11, 79),
        "000000000025": (),
        "COCO_train2014_000000000030": (0,),
    }
    path = save(tmp_path, "instances.json", json.dumps(coco()))
    assert read_image_labels(path, num_classes=80) == expected
    assert read_image_labels(path, category_ids=COCO_IDS) == expected
    with pytest.raises(ValueError, match="9: 90 is not in category_ids"):
        read_image_labels(path, category_ids=[1, 13])


def test_category_numbers_are_mapped(tmp_path: Path) -> None:
    for name, text in (("a.txt", "a 90 13 1\nb"), ("a.json", '{"a": [90, 13, 1], "b": []}')):
        path = save(tmp_path, name, text)
        assert read_image_labels(path, category_ids=COCO_IDS) == {"a": (0, 11, 79), "b": ()}
        with pytest.raises(ValueError, match=rf"^{path}: a: 1 is not in category_ids"):
            read_image_labels(path, category_ids=[90, 13])
    with pytest.raises(ValueError, match="category_ids: expected distinct numbers"):
        read_image_labels(path, category_ids=[1, 1])
    vectors = save(tmp_path, "a.npy", object_npy({"a": [0, 1]}))
    with pytest.raises(ValueError, match="category_ids: vectors have a place for each class"):
        read_image_labels(vectors, category_ids=[1, 2])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "a 1\nb 2\na 3", "it has a twice"),
        ("a.txt", "a 1.0", "a: expected classes counted from 0, got '1.0'"),
        ("a.txt", "a -1", "a: expected classes counted from 0, got '-1'"),
        ("a.txt", "a dog", "got 'dog'"),
        ("a.txt", "a ²", r"got '\\xb2'"),
        ("a.txt", "a " + "9" * 5000, "got '999.*"),
        ("a.txt", "../a 1", "ids that are file names, got '../a'"),
        ("a.txt", "/etc/passwd 1", "ids that are file names"),
        ("a.txt", "a\0b 1", "ids that are file names"),
        ("a.txt", "a 25", "a: expected classes below 20, got 25"),
        ("a.txt", b"\xff\xfe\x00", ""),
        ("a.json", '{"a": [1], "a": [2]}', "a key twice"),
        ("a.json", '{"../a": [1]}', "ids that are file names"),
        ("a.json", '{"a": 1}', "a: expected a list of classes"),
        ("a.json", '{"a": [true]}', "got True"),
        ("a.json", '{"a": ["1"]}', "got '1'"),
        ("a.json", '{"a": [1.0]}', "got 1.0"),
        ("a.json", '{"a": [NaN]}', "got nan"),
        ("a.json", '{"a": [99999999999999]}', "counted from 0"),
        ("a.json", "[1, 2]", "expected a JSON object, got list"),
        ("a.json", '{"a": [1]', ""),
        ("a.json", "", ""),
        ("a.json", "[" * 100_000, ""),
        ("a.json", '{"a":' * 100_000, ""),
        (
            "a.json",
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}],'
            '"annotations": [], "categories": []}',
            "it has an image twice",
        ),
        ("a.json", '{"images": [{}], "annotations": [], "categories": []}', "KeyError"),
        ("a.json", '{"images": [{"id": [], "file_name": ""}], "annotations": []}', ""),
        ("a.npy", object_npy({"a": [0, 1], "b": [0]}), "expected a vector of 20 classes, got 2"),
        ("a.npy", object_npy({"a": [0, 2] * 10}), "exactly 0 or 1"),
        ("a.npy", object_npy({"a": np.full(20, np.nan)}), "exactly 0 or 1"),
        ("a.npy", object_npy({"a": np.zeros((1, 20))}), "multi-hot vector"),
        ("a.npy", object_npy({"a": "x"}), "multi-hot vector"),
        ("a.npy", object_npy({"../a": [0] * 20}), "ids that are file names"),
        ("a.npy", object_npy({2007000032: [0] * 20, "2007_000032": [0] * 20}), "an id twice"),
        ("a.npy", object_npy([1]), "a dictionary of vectors or an array"),
        ("a.npy", b"", ""),
    ],
)
def test_refused_labels(name: str, text: bytes | str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path, name, text)
    with pytest.raises(ValueError, match=rf"^{path}: .*{message}") as caught:
        read_image_labels(path, num_classes=20)
    assert str(caught.value).isprintable()


def test_vectors_of_several_lengths_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "a.npy", object_npy({"a": [0, 1], "b": [0]}))
    with pytest.raises(ValueError, match="b: expected a vector of 2 classes, got 1"):
        read_image_labels(path)


def test_one_vector_for_many_ids_is_noticed(tmp_path: Path) -> None:
    for vector in (np.zeros(10**5, np.uint8), [0] * 10**4):
        path = save(tmp_path, "a.npy", object_npy({f"{n}": vector for n in range(1000)}))
        with pytest.raises(ValueError, match=rf"^{path}: .*far more than its own size"):
            read_image_labels(path)


def test_options(tmp_path: Path) -> None:
    path = save(tmp_path, "a.txt", "a 1")
    with pytest.raises(ValueError, match="format: expected one of 'auto', 'text'.* got 'csv'"):
        read_image_labels(path, format="csv")
    with pytest.raises(ValueError, match="num_classes: expected an integer of at least 1"):
        read_image_labels(path, num_classes=0)
    with pytest.raises(FileNotFoundError):
        read_image_labels(tmp_path / "b.txt")
    with pytest.raises(IsADirectoryError):
        list_ids(tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.JSON", "a"])
def test_round_trips(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for labels in ({}, LABELS, {"猫-1.jpg": (999,), "b": (0,)}):
        write_image_labels(path, labels)
        assert read_image_labels(path) == labels
        assert list(read_image_labels(path)) == list(labels)
    write_image_labels(path, {"a": [np.int64(3), 1, 3]})  # type: ignore[list-item]
    assert read_image_labels(path) == {"a": (1, 3)}
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_is_written(tmp_path: Path) -> None:
    write_image_labels(tmp_path / "a.txt", LABELS)
    expected = b"2007_000032 0 14\n2007_000033\n2007_000039 19\n"
    assert (tmp_path / "a.txt").read_bytes() == expected
    write_image_labels(tmp_path / "a.json", {**LABELS, "a b": (1,)})
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == {**{k: list(v) for k, v in LABELS.items()}, "a b": [1]}


def test_labels_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"../a": (1,)}, "image_labels: expected a file name"),
        ({"a b": (1,)}, "image_labels: 'a b' has white space, which needs .json"),
        ({"a": (-1,)}, "image_labels: expected an integer of at least 0, got -1"),
    ]
    for labels, message in cases:
        with pytest.raises(ValueError, match=message):
            write_image_labels(path, labels)
    with pytest.raises(TypeError, match="image_labels: expected an integer, got float 1.0"):
        write_image_labels(path, {"a": [1.0]})  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())


def test_lists_of_ids(tmp_path: Path) -> None:
    path = save(tmp_path, "val.txt", "2007_000033  1\r\n\r\nb -1\r\nc.d")
    assert list_ids(path) == ["2007_000033", "b", "c.d"]
    assert list_ids(save(tmp_path, "val.txt", "")) == []
    for text, message in (
        ("a\n../x", "file names, got '../x'"),
        ("/JPEGImages/a.jpg /Labels/a.png", "file names, got '/JPEGImages/a.jpg'"),
        ("C:\\a", "file names"),
        ("a\nb\na", "it has a twice"),
        ("..", "file names"),
        (".hidden", "file names"),
        (b"\x80", ""),
    ):
        path = save(tmp_path, "val.txt", text)
        with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
            list_ids(path)
