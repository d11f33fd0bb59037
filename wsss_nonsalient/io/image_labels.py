"""Image-level labels and lists of ids: which classes are in which image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._atomic_write import atomic_write
from .._checks import check_choice, check_integer
from ._arrays import is_dict, is_list
from ._files import (
    AnyPath,
    RefusedError,
    check_id,
    content_of,
    is_id,
    read_file,
    shown,
)
from ._label_vectors import vector_labels
from ._voc_xml import object_names
from .voc import VOC_CLASSES

ImageLabels = dict[str, tuple[int, ...]]

_FORMATS = ("auto", "text", "json", "npy", "voc-xml")


def read_image_labels(
    path: AnyPath,
    *,
    format: str = "auto",  # noqa: A002
    ids: Sequence[str] | None = None,
    num_classes: int | None = None,
    category_ids: Sequence[int] | None = None,
) -> ImageLabels:
    r"""Read which classes each image has.

    ======= =======================================================================================
    format  content
    ======= =======================================================================================
    text    a line ``id c c c`` an image, classes 0-based; a line ``id`` is an image without a class
    json    ``{"id": [c, c]}``, or COCO's annotation file, whose categories in ascending order of
            their numbers are the classes, and whose ids are the file names without ending
    npy     a pickled dictionary of an id to its multi-hot vector (``cls_labels.npy``), or a plain
            (N, C) multi-hot array, which needs ``ids``
    voc-xml a folder of PASCAL VOC annotations ``{id}.xml``; difficult objects count, parts do not
    ======= =======================================================================================

    Ids that are numbers: 2007000032 is VOC's ``2007_000032``; other numbers (COCO) are looked up in
    ``ids``, as the number behind the last underscore.

    Args:
        path: The file or folder.
        format: One of the table, or ``"auto"``: a folder is voc-xml, ``.json`` and ``.npy`` are
            told by their ending, all else is text.
        ids: The images wanted, all of which must be there; the result is in their order. Without
            them all images come, in the file's order.
        num_classes: Number of classes, to be checked.
        category_ids: The number that the file has for each class, for files that do not count
            classes from 0 without gaps: COCO's 80 numbers from 1 to 90.

    Returns:
        Ascending 0-based classes of each id; ``()`` for an image without a class.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged or of another format; an id is no file name or comes twice; a
            class is out of range; an image of ``ids`` is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train_cls.txt"
        ...     _ = path.write_text("2007_000032 0 14\n2007_000033 0\n")
        ...     read_image_labels(path, ids=["2007_000033"])
        {'2007_000033': (0,)}
    """
    check_choice("format", format, _FORMATS)
    wanted = None if ids is None else _check_ids(ids)
    if num_classes is not None:
        check_integer("num_classes", num_classes, minimum=1)
    numbers = None if category_ids is None else _class_numbers(category_ids)
    name = _format_of(Path(path)) if format == "auto" else format
    if name == "voc-xml":
        labels = _read_voc_xml(Path(path), wanted)
    else:
        data = read_file(path)
        with content_of(path, f"image-level labels in the format {name}"):
            labels = _parse(name, data, wanted, num_classes, numbers)
    with content_of(path, "image-level labels"):
        return _checked(labels, wanted, num_classes)


def _check_ids(ids: Sequence[str]) -> list[str]:
    if isinstance(ids, str):
        raise TypeError("ids: expected several strings, got one")
    checked = [check_id(image_id, "ids") for image_id in ids]
    if len(set(checked)) < len(checked):
        raise ValueError("ids: expected distinct ones, got one twice")
    return checked


def _class_numbers(category_ids: Sequence[int]) -> dict[int, int]:
    for number in category_ids:
        check_integer("category_ids", number, minimum=0)
    numbers = {int(number): c for c, number in enumerate(category_ids)}
    if len(numbers) < len(category_ids):
        raise ValueError("category_ids: expected distinct numbers, got one twice")
    return numbers


def _format_of(path: Path) -> str:
    if path.is_dir():
        return "voc-xml"
    return {".json": "json", ".npy": "npy"}.get(path.suffix.lower(), "text")


def _parse(
    name: str,
    data: bytes,
    ids: list[str] | None,
    num_classes: int | None,
    numbers: dict[int, int] | None,
) -> ImageLabels:
    if name == "npy":
        if numbers is not None:
            raise RefusedError("category_ids: vectors have a place for each class, not its number")
        return vector_labels(data, ids, num_classes)
    if name == "text":
        return {
            row[0]: _classes(row[0], list(map(_number, row[1:])), numbers) for row in _rows(data)
        }
    content = json.loads(data, object_pairs_hook=_distinct)
    if not is_dict(content):
        raise RefusedError(f"expected a JSON object, got {type(content).__name__}")
    if is_list(content.get("annotations")) and is_list(content.get("images")):
        return _coco(content, numbers)
    return {key: _classes(key, value, numbers) for key, value in content.items()}


def _number(word: str) -> int | str:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else word


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise RefusedError("it has a key twice")
    return result


def _classes(image_id: str, values: Any, numbers: dict[int, int] | None) -> tuple[int, ...]:
    if not is_list(values):
        raise RefusedError(f"{shown(image_id)}: expected a list of classes")
    return tuple(sorted({_class(image_id, value, numbers) for value in values}))


def _class(image_id: str, value: Any, numbers: dict[int, int] | None) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        got = shown(ascii(value))
        raise RefusedError(f"{shown(image_id)}: expected classes counted from 0, got {got}")
    if numbers is None:
        return value
    if value not in numbers:
        raise RefusedError(f"{shown(image_id)}: {value} is not in category_ids")
    return numbers[value]


def _coco(content: dict[str, Any], numbers: dict[int, int] | None) -> ImageLabels:
    if numbers is None:
        numbers = _class_numbers(sorted(c["id"] for c in content["categories"]))
    names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    if len(set(names.values())) < len(content["images"]):
        raise RefusedError("it has an image twice")
    classes: dict[str, set[int]] = {name: set() for name in names.values()}
    for item in content["annotations"]:
        name = names[item["image_id"]]
        classes[name].add(_class(name, item["category_id"], numbers))
    return {name: tuple(sorted(found)) for name, found in classes.items()}


def _read_voc_xml(folder: Path, ids: list[str] | None) -> ImageLabels:
    if ids is None:
        ids = sorted(p.stem for p in folder.iterdir() if p.suffix == ".xml" and is_id(p.stem))
        if not ids:
            raise ValueError(f"{folder}: expected VOC annotations {{id}}.xml, got none")
    known = {name: c for c, name in enumerate(VOC_CLASSES)}
    labels: ImageLabels = {}
    for image_id in ids:
        path = folder / f"{image_id}.xml"
        data = read_file(path)
        with content_of(path, "a VOC annotation"):
            names = object_names(data)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise RefusedError(f"{shown(ascii(unknown[0]))} is no class of PASCAL VOC")
            labels[image_id] = tuple(sorted({known[name] for name in names}))
    return labels


def _checked(labels: ImageLabels, ids: list[str] | None, num_classes: int | None) -> ImageLabels:
    for image_id, classes in labels.items():
        if not is_id(image_id):
            raise RefusedError(f"expected ids that are file names, got {shown(ascii(image_id))}")
        if num_classes is not None and classes and classes[-1] >= num_classes:
            raise RefusedError(
                f"{image_id}: expected classes below {num_classes}, got {classes[-1]}"
            )
    if ids is None:
        return labels
    missing = [image_id for image_id in ids if image_id not in labels]
    if missing:
        raise RefusedError(
            f"{len(missing)} of {len(ids)} images are not in it, such as {missing[0]}"
        )
    return {image_id: labels[image_id] for image_id in ids}


def write_image_labels(path: AnyPath, image_labels: Mapping[str, Sequence[int]]) -> None:
    """Write which classes each image has, in one step.

    Args:
        path: ``.json`` gives ``{"id": [c, c]}``, every other ending lines ``id c c c``.
        image_labels: 0-based classes of each id.

    Raises:
        OSError: The file cannot be written.
        TypeError: A class is not an integer, or an id not a string.
        ValueError: An id is no file name (or has white space, which text cannot hold), or a class
            is negative.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image_labels(f"{folder}/a.txt", {"2007_000032": (0, 14), "2007_000033": ()})
        ...     read_image_labels(f"{folder}/a.txt")
        {'2007_000032': (0, 14), '2007_000033': ()}
    """
    as_json = Path(path).suffix.lower() == ".json"
    rows: dict[str, list[int]] = {}
    for image_id, classes in image_labels.items():
        if len(check_id(image_id, "image_labels").split()) != 1 and not as_json:
            raise ValueError(f"image_labels: {image_id!r} has white space, which needs .json")
        for c in classes:
            check_integer("image_labels", c, minimum=0)
        rows[image_id] = sorted({int(c) for c in classes})
    lines = (f"{json.dumps(k) if as_json else k}" for k in rows)
    if as_json:
        text = ",\n".join(f"{k}: {v}" for k, v in zip(lines, rows.values(), strict=True))
        text = f"{{\n{text}\n}}\n"
    else:
        text = "".join(" ".join([k, *map(str, v)]) + "\n" for k, v in rows.items())
    with atomic_write(path) as file:
        file.write(text.encode())


def list_ids(path: AnyPath) -> list[str]:
    r"""Ids from a list: the first word of each line that has one.

    Args:
        path: The list.

    Returns:
        The ids, in the file's order.

    Raises:
        OSError: The file cannot be read.
        ValueError: An id comes twice or is no file name (``../x``, an absolute path), or the file
            is no text.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.txt").write_bytes(b"2007_000032\r\n2007_000033")
        ...     list_ids(Path(folder, "train.txt"))
        ['2007_000032', '2007_000033']
    """
    data = read_file(path)
    with content_of(path, "a list of ids"):
        return [row[0] for row in _rows(data)]


def _rows(data: bytes) -> list[list[str]]:
    """Words of each line that has any; the first ones are distinct ids."""
    rows = [line.split() for line in data.decode("utf-8-sig").splitlines()]
    rows = [row for row in rows if row]
    seen: set[str] = set()
    for image_id, *_ in rows:
        if not is_id(image_id):
            raise RefusedError(f"expected ids that are file names, got {shown(ascii(image_id))}")
        if image_id in seen:
            raise RefusedError(f"it has {image_id} twice")
        seen.add(image_id)
    return rows
