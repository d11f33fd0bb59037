"""CAM dumps of other codebases: each format read and written, told apart, refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import io_files
from tests.helpers import assert_same
from tests.io_files import (
    CLASSES,
    DICT_FORMATS,
    ID,
    NUMPY_1,
    NUMPY_2,
    assert_equal,
    dumped,
    levels,
    object_npy,
    plain_npy,
    png,
    save,
    unit_maps,
    unpickled,
    write_dumps,
)
from wsss_nonsalient.io import (
    CAM_FORMATS,
    CAMs,
    cam_ids,
    detect_cam_format,
    read_cams,
    read_saliency,
    write_cams,
)

EXACT = ("psa", "psa-crf", "irn", "puzzlecam", "npz")  # hold float32 maps as they are


def some_cams(name: str, dtype: torch.dtype = torch.float32) -> CAMs:
    count = 1 if name == "wsol" else 2
    maps = torch.from_numpy(levels(count))
    classes = torch.tensor(CLASSES[:count])
    return CAMs(classes, maps if dtype == torch.uint8 else maps.to(dtype) / 255)


def test_the_table_is_whole() -> None:
    formats = ("nsrom", "psa", "psa-crf", "irn", "puzzlecam", "clip-es", "wsol", "npz")
    assert formats == CAM_FORMATS


@pytest.mark.parametrize("name", CAM_FORMATS)
def test_every_format_is_read(name: str, tmp_path: Path) -> None:
    folder = write_dumps(tmp_path / name, name)
    cams = read_cams(folder, ID, format=name, image_labels=[3])
    classes, maps = (CLASSES[:1], unit_maps()[:1]) if name == "wsol" else (CLASSES, unit_maps())
    if name == "clip-es":
        maps = maps.astype(np.float16)
    assert_equal(cams, classes, levels() if name == "nsrom" else maps)
    assert cams.maps.dtype == torch.from_numpy(levels() if name == "nsrom" else maps).dtype
    assert cam_ids(folder, format=name) == [ID]
    if name != "psa-crf":
        assert detect_cam_format(folder) == name
        assert cam_ids(folder) == [ID]
        assert_equal(read_cams(folder, ID, image_labels=[3]), classes, cams.maps.numpy())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("core", [NUMPY_1, NUMPY_2])
@pytest.mark.parametrize("name", DICT_FORMATS)
def test_names_and_byte_orders(name: str, core: str, order: str, tmp_path: Path) -> None:
    save(tmp_path, object_npy(dumped(name, order=order), 3, core))
    maps = unit_maps().astype(np.float16 if name == "clip-es" else np.float32)
    assert_equal(read_cams(tmp_path, ID, format=name), CLASSES, maps)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_dtypes_stay(dtype: str, protocol: int, tmp_path: Path) -> None:
    maps = levels() if dtype == "uint8" else unit_maps().astype(dtype)
    save(tmp_path, object_npy(dumped("psa", maps), protocol))
    assert_equal(read_cams(tmp_path, ID), CLASSES, maps)
    save(tmp_path, plain_npy(maps[0]))
    assert_equal(read_cams(tmp_path, ID, image_labels=[5]), (5,), maps[:1])


def test_values_are_left_as_they_are(tmp_path: Path) -> None:
    maps = unit_maps() * 3 - 0.01
    save(tmp_path, object_npy(dumped("psa", maps)))
    assert_equal(read_cams(tmp_path, ID), CLASSES, maps)


def test_classes_come_in_ascending_order(tmp_path: Path) -> None:
    maps = unit_maps(3)
    for name in DICT_FORMATS:
        save(tmp_path, object_npy(dumped(name, maps, (7, 0, 3))))
        cams = read_cams(tmp_path, ID, format=name)
        expected = maps[[1, 2, 0]].astype(np.float16 if name == "clip-es" else np.float32)
        assert_equal(cams, (0, 3, 7), expected)


def test_irn_as_it_comes(tmp_path: Path) -> None:
    value = dumped("irn")
    for keys in (np.array(CLASSES), torch.tensor(CLASSES), np.array(CLASSES, np.int32), [3, 7]):
        save(tmp_path, object_npy({**value, "keys": keys}))
        assert_equal(read_cams(tmp_path, ID), CLASSES, unit_maps())
    tensors = {**value, "high_res": torch.from_numpy(unit_maps())}
    save(tmp_path, object_npy(tensors))
    assert_equal(read_cams(tmp_path, ID), CLASSES, unit_maps())
    del value["high_res"]
    save(tmp_path, object_npy(value))
    assert_equal(read_cams(tmp_path, ID), CLASSES, value["cam"].numpy())
    assert_equal(read_cams(tmp_path, ID, format="irn"), CLASSES, value["cam"].numpy())


def test_puzzlecam_without_its_large_maps(tmp_path: Path) -> None:
    value = dumped("puzzlecam")
    del value["hr_cam"]
    save(tmp_path, object_npy(value))
    assert detect_cam_format(tmp_path) == "puzzlecam"
    assert_equal(read_cams(tmp_path, ID), CLASSES, np.zeros((2, 2, 2), np.float32))


def test_an_image_without_a_class(tmp_path: Path) -> None:
    empty: list[dict[Any, Any]] = [
        {},
        {"keys": np.array([]), "attn_highres": np.zeros((0, 5, 6), np.float16)},
        {"keys": torch.zeros(0).long(), "cam": torch.zeros(0, 2, 2), "high_res": np.zeros((0,))},
        {"keys": np.array([0]), "cam": torch.zeros(0, 2, 2), "hr_cam": np.zeros((0, 5, 6))},
    ]
    for value in empty:
        save(tmp_path, object_npy(value))
        assert read_cams(tmp_path, ID).maps.shape == (0, 0, 0)
    save(tmp_path, object_npy({0: unit_maps()[0]}))
    assert len(read_cams(tmp_path, ID, format="psa-crf").classes) == 0
    cams = CAMs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5, 6))
    assert cams.dense(2).shape == (2, 5, 6)
    for name in (*DICT_FORMATS, "npz"):
        (tmp_path / name).mkdir()
        write_cams(tmp_path / name, ID, cams, format=name)
        assert len(read_cams(tmp_path / name, ID, format=name).classes) == 0
    assert read_cams(tmp_path / "npz", ID).maps.shape == (0, 5, 6)
    for name in ("nsrom", "wsol"):
        with pytest.raises(ValueError, match="cams: expected (a|one) class"):
            write_cams(tmp_path, ID, cams, format=name)


def test_label_and_saliency_folders_are_no_cams(tmp_path: Path) -> None:
    for image_id in ("2007_000032", "COCO_train2014_000000000009", "000000000009", "a_-1", "_3"):
        folder = tmp_path / image_id
        save(folder, png(levels()[0]), image_id, ".png")
        for call in (detect_cam_format, cam_ids, lambda f: read_cams(f, "2007")):
            with pytest.raises(ValueError, match=r"expected.*\{id\}_\{class\}\.png.*got"):
                call(folder)
    save(tmp_path / "rgb", png(levels()[0], "RGB"), f"{ID}_1", ".png")
    with pytest.raises(ValueError, match=r"_1\.png: expected an 8-bit gray PNG, got RGB"):
        read_cams(tmp_path / "rgb", ID)


def test_auto_refuses_what_it_cannot_tell_apart(tmp_path: Path) -> None:
    zero = object_npy(dumped("psa", unit_maps(), (0, 5)))
    save(tmp_path, zero, "a")
    message = "cannot tell whether its format is psa or psa-crf; name it"
    for call in (detect_cam_format, cam_ids, lambda folder: read_cams(folder, "a")):
        with pytest.raises(ValueError, match=message):
            call(tmp_path)
    assert read_cams(tmp_path, "a", format="psa").classes.tolist() == [0, 5]
    assert read_cams(tmp_path, "a", format="psa-crf").classes.tolist() == [4]
    save(tmp_path, object_npy(dumped("psa")), "b")  # no background, so the folder is psa
    assert detect_cam_format(tmp_path) == "psa"
    assert read_cams(tmp_path, "a").classes.tolist() == [0, 5]


def test_folders_that_are_of_no_format(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            detect_cam_format(tmp_path)

    refused(r"expected CAM dumps \(npy, npz or png files\), got none")
    path = save(tmp_path, object_npy({"a": 1}))
    refused(rf"{path}: expected a CAM dump, got no format of nsrom, psa")
    path.write_bytes(object_npy([1, 2]))
    refused("got no format")
    path.write_bytes(plain_npy(levels()))
    refused("got no format")
    path.write_bytes(b"")
    refused(str(path))
    path.write_bytes(object_npy(dumped("psa", classes=(0, 1))))
    save(tmp_path, object_npy(dumped("irn")), "b")
    refused(r"several formats \(see b\.npy\)")
    save(tmp_path, png(levels()[0]), f"{ID}_1", ".png")
    refused("got a mixture of .png and .npy files")
    with pytest.raises(FileNotFoundError):
        detect_cam_format(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="format: expected one of 'auto', 'nsrom', .* got 'voc'"):
        read_cams(tmp_path, ID, format="voc")
    with pytest.raises(ValueError, match="format: expected one of 'nsrom', .* got 'auto'"):
        write_cams(tmp_path, ID, some_cams("psa"), format="auto")
    with pytest.raises(TypeError, match="cams: expected CAMs, got dict"):
        write_cams(tmp_path, ID, {}, format="psa")  # type: ignore[arg-type]


def test_detecting_looks_at_a_sample(tmp_path: Path) -> None:
    zero = object_npy(dumped("psa", unit_maps(), (0, 5)))
    for index in range(150):
        save(tmp_path, zero if index != 111 else object_npy(dumped("psa")), f"{index:03d}")
    assert detect_cam_format(tmp_path) == "psa"
    save(tmp_path, b"damaged", "100")
    assert detect_cam_format(tmp_path) == "psa"


REFUSED: list[tuple[str, Any, str]] = [
    ("psa", {"keys": 1}, "expected int as dictionary keys, got 'keys'"),
    ("psa", {True: unit_maps()[0]}, "expected int as dictionary keys, got True"),
    ("psa", {-1: unit_maps()[0]}, "expected classes from 0, got -1"),
    ("psa", {2**40: unit_maps()[0]}, "expected classes from 0"),
    ("psa", {1: unit_maps()}, r"maps of shape \(H, W\), got shape \(2, 5, 6\)"),
    ("psa", {1: [1.0]}, r"maps of shape \(H, W\), got list"),
    ("psa", {1: unit_maps()[0], 2: unit_maps()[0, :4]}, "its maps differ"),
    ("psa", {1: unit_maps()[0], 2: levels()[0]}, "its maps differ"),
    ("psa", {1: levels()[0].astype(np.int64)}, "floating point or uint8, got .* int64"),
    ("psa", {1: np.zeros((0, 4))}, "maps of shape"),
    ("psa", {1: np.full((2, 2), np.nan)}, "NaN or infinite"),
    ("psa", {1: np.full((2, 2), np.inf)}, "NaN or infinite"),
    ("psa", [unit_maps()[0]], "expected a dictionary, got list"),
    ("psa-crf", {1: unit_maps()[0]}, "no 0, the background, so it is not psa-crf"),
    ("irn", dumped("psa"), "expected str as dictionary keys, got 3"),
    ("irn", {"cam": unit_maps()}, "has no 'keys', but 'cam'"),
    ("irn", {"keys": np.array([1, 2])}, "has no 'high_res'"),
    ("irn", {"keys": np.array([1]), "cam": unit_maps()}, "1 classes, but 2 maps"),
    ("irn", {"keys": np.array([1, 1]), "cam": unit_maps()}, "has a class twice"),
    ("irn", {"keys": np.array([1.0, 2.0]), "cam": unit_maps()}, "'keys' of integers"),
    ("irn", {"keys": np.array([[1, 2]]), "cam": unit_maps()}, "'keys' of shape"),
    ("irn", {"keys": 1, "cam": unit_maps()}, "'keys' of shape"),
    ("irn", {"keys": np.array([1, 2]), "cam": unit_maps()[0]}, r"shape \(n, H, W\)"),
    ("puzzlecam", {"keys": np.array([1, 2]), "hr_cam": unit_maps()}, "do not start with 0"),
    ("puzzlecam", {"keys": np.array([0, 0, 1]), "hr_cam": unit_maps()}, "from 0, got -1"),
    ("puzzlecam", {"keys": np.array([]), "hr_cam": unit_maps()}, "do not start with 0"),
    ("clip-es", {"keys": np.array([1, 2]), "cam": unit_maps()}, "has no 'attn_highres'"),
    ("wsol", {1: unit_maps()[0]}, "maps of shape"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_refused_content(name: str, value: Any, message: str, tmp_path: Path) -> None:
    path = save(tmp_path, object_npy(value))
    with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
        read_cams(tmp_path, ID, format=name, image_labels=[1])


def test_one_map_for_many_classes_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, object_npy(dict.fromkeys(range(1, 10_000), np.zeros((500, 500)))))
    with pytest.raises(ValueError, match=rf"^{path}: .*far more than its own size"):
        read_cams(tmp_path, ID, format="psa")


def test_wsol_needs_the_class(tmp_path: Path) -> None:
    folder = write_dumps(tmp_path, "wsol")
    for labels in (None, (), (1, 2)):
        with pytest.raises(ValueError, match="one class in image_labels for the format wsol"):
            read_cams(folder, ID, image_labels=labels)


def test_npz_files(tmp_path: Path) -> None:
    for compressed in (False, True):
        arrays = {"maps": unit_maps(), "classes": np.array([7, 3], ">i2"), "more": np.zeros(3)}
        save(tmp_path, io_files.npz(arrays, compressed=compressed), ending=".npz")
        assert_equal(read_cams(tmp_path, ID), CLASSES, unit_maps()[::-1])
    bomb = {"classes": np.array([1]), "maps": np.zeros((1, 9000, 9000))}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"classes": np.array([1])}, "has no array 'maps'"),
        ({"classes": np.array([1.0]), "maps": unit_maps(1)}, "expected classes"),
        ({"classes": np.array([1]), "maps": unit_maps()[0]}, "expected classes"),
        ({"classes": np.array([1]), "maps": np.array([{}])}, "is no array of numbers"),
        (bomb, "far more than its own size"),
    ]
    for arrays, message in cases:
        path = save(tmp_path, io_files.npz(arrays, compressed=True), ending=".npz")
        with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
            read_cams(tmp_path, ID)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", CAM_FORMATS)
def test_round_trips(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    cams = some_cams(name, dtype)
    write_cams(tmp_path, ID, cams, format=name)
    again = read_cams(tmp_path, ID, format=name, image_labels=[3])
    assert_same(again.classes, cams.classes)
    if name == "npz":
        assert_same(again.maps, cams.maps)
        return
    assert again.maps.dtype == {"nsrom": torch.uint8, "clip-es": torch.float16}.get(
        name, torch.float32
    )
    exact = torch.from_numpy(levels(len(cams.classes))).double() / 255
    found = again.maps.double() / (255 if name == "nsrom" else 1)
    tolerance = 6e-4 if name == "clip-es" or dtype == torch.float16 else 1e-7
    torch.testing.assert_close(found, exact, rtol=0, atol=0 if name == "nsrom" else tolerance)


@pytest.mark.parametrize("name", EXACT)
def test_float32_maps_are_written_in_every_bit(name: str, tmp_path: Path) -> None:
    cams = CAMs(torch.tensor([0, 19]), torch.rand(2, 7, 9))
    write_cams(tmp_path, ID, cams, format=name)
    assert_same(read_cams(tmp_path, ID, format=name).maps, cams.maps)


@pytest.mark.parametrize("name", CAM_FORMATS)
def test_same_maps_same_bytes(name: str, tmp_path: Path) -> None:
    cams = some_cams(name)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_cams(tmp_path / folder, ID, cams, format=name)
        write_cams(tmp_path / folder, ID, cams, format=name)
        assert not list((tmp_path / folder).glob("*.tmp"))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def written(name: str, folder: Path) -> Any:
    write_cams(folder, ID, some_cams(name), format=name)
    return unpickled(folder / f"{ID}.npy")


def test_what_we_write_is_what_other_codebases_load(tmp_path: Path) -> None:
    maps = unit_maps()
    psa = written("psa", tmp_path)
    assert list(psa) == [3, 7]
    np.testing.assert_array_equal(np.stack(list(psa.values())), maps)
    crf = written("psa-crf", tmp_path)
    assert list(crf) == [0, 4, 8]
    np.testing.assert_array_equal(crf[0], 1 - maps.max(0))
    irn = written("irn", tmp_path)
    assert torch.equal(irn["keys"], torch.tensor(CLASSES))
    assert irn["keys"].dtype == torch.int64
    assert irn["cam"].shape == (2, 2, 2)
    assert irn["cam"].dtype == torch.float32
    irn["cam"].add_(1)
    np.testing.assert_array_equal(irn["high_res"], maps)
    puzzle = written("puzzlecam", tmp_path)
    assert puzzle["keys"].tolist() == [0, 4, 8]
    assert puzzle["cam"].shape == (2, 2, 2)
    np.testing.assert_array_equal(puzzle["hr_cam"], maps)
    clip = written("clip-es", tmp_path)
    assert clip["keys"].tolist() == [3, 7]
    assert clip["attn_highres"].dtype == np.float16
    for name in DICT_FORMATS:
        write_cams(tmp_path, ID, some_cams(name), format=name)
        content = (tmp_path / f"{ID}.npy").read_bytes()
        assert b"numpy.core.multiarray" in content
        assert b"numpy._core" not in content
    write_cams(tmp_path, ID, some_cams("wsol"), format="wsol")
    np.testing.assert_array_equal(np.load(tmp_path / f"{ID}.npy"), maps[0])
    write_cams(tmp_path, ID, some_cams("npz"), format="npz")
    with np.load(tmp_path / f"{ID}.npz") as arrays:
        np.testing.assert_array_equal(arrays["maps"], maps)
        assert arrays["classes"].tolist() == [3, 7]
    write_cams(tmp_path, ID, some_cams("nsrom"), format="nsrom")
    np.testing.assert_array_equal(read_saliency(tmp_path / f"{ID}_7.png").numpy(), levels()[1])


def test_maps_that_a_format_cannot_hold(tmp_path: Path) -> None:
    def cams(low: float, high: float, count: int = 1) -> CAMs:
        maps = torch.tensor([[float(low), high]]).expand(count, 1, 2)
        return CAMs(torch.arange(count), maps)

    cases = [
        ("nsrom", cams(0, 1.1), r"maps in \[0, 1\] for nsrom, got 0 to 1.1"),
        ("nsrom", cams(-0.1, 1), "see normalize_cam"),
        ("nsrom", cams(0, torch.nan), r"maps in \[0, 1\]"),
        ("psa-crf", cams(0, 1.1), "probabilities"),
        ("clip-es", cams(0, 1e6), "float16 can hold"),
        ("wsol", cams(0, 1, 2), "expected one class for wsol, got 2"),
    ]
    for name, value, message in cases:
        with pytest.raises(ValueError, match=f"^cams: .*{message}"):
            write_cams(tmp_path, ID, value, format=name)
    assert not list(tmp_path.iterdir())
    brain = CAMs(torch.tensor([1]), torch.ones(1, 2, 2, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="bfloat16"):
        write_cams(tmp_path, ID, brain)
    write_cams(tmp_path, ID, brain, format="psa")
    assert read_cams(tmp_path, ID, format="psa").maps.dtype == torch.float32


@pytest.mark.parametrize(
    "image_id",
    [
        "../a",
        "a/b",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\b",
        "C:a",
        "a\0",
        "a\n",
        " a",
        ".a",
        "\x1b[31m",
    ],
)
@pytest.mark.parametrize("name", ["auto", *CAM_FORMATS])
def test_ids_lead_out_of_no_folder(image_id: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "cams"
    folder.mkdir()
    with pytest.raises(ValueError, match="image_id: expected a file name without a folder"):
        read_cams(folder, image_id, format=name)
    if name != "auto":
        with pytest.raises(ValueError, match="image_id: expected a file name without a folder"):
            write_cams(folder, image_id, some_cams(name), format=name)
    assert [p.name for p in tmp_path.iterdir()] == ["cams"]
    with pytest.raises(TypeError, match="image_id: expected a string, got int"):
        read_cams(folder, 7, format=name)  # type: ignore[arg-type]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cams(tmp_path, ID, some_cams("psa"), format="psa")
    before = (tmp_path / f"{ID}.npy").read_bytes()

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_cams(tmp_path, ID, some_cams("irn"), format="irn")
    assert (tmp_path / f"{ID}.npy").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileNotFoundError):
        write_cams(tmp_path / "nowhere", ID, some_cams("psa"), format="psa")


CHECKS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: CAMs([1], torch.zeros(1, 2, 2)), TypeError, "classes: expected a torch.Tensor"),  # type: ignore[arg-type]
    (lambda: CAMs(torch.ones(1), torch.zeros(1, 2, 2)), TypeError, "classes: expected int64"),
    (lambda: CAMs(torch.tensor([1]), torch.ones(1, 2, 2).int()), TypeError, "maps: expected uint8"),
    (lambda: CAMs(torch.tensor([[1]]), torch.zeros(1, 2, 2)), ValueError, r"classes: .*\(K,\)"),
    (lambda: CAMs(torch.tensor([1]), torch.zeros(2, 2, 2)), ValueError, r"maps: .*\(1, H, W\)"),
    (lambda: CAMs(torch.tensor([1]), torch.zeros(1, 0, 2)), ValueError, "maps: .*at least 1"),
    (lambda: CAMs(torch.tensor([2, 1]), torch.zeros(2, 1, 1)), ValueError, r"classes: .*\[2, 1\]"),
    (lambda: CAMs(torch.tensor([1, 1]), torch.zeros(2, 1, 1)), ValueError, "classes: .*distinct"),
    (lambda: CAMs(torch.tensor([-1]), torch.zeros(1, 1, 1)), ValueError, "classes: .*at least 0"),
    (lambda: some_cams("psa").dense(7), ValueError, "num_classes: expected more than 7"),
    (lambda: some_cams("psa").dense(0), ValueError, "num_classes: expected an integer of at least"),
]


@pytest.mark.parametrize(("call", "error", "message"), CHECKS)
def test_checks(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64])
def test_dense(dtype: torch.dtype) -> None:
    cams = some_cams("psa", dtype)
    dense = cams.dense(20)
    assert dense.dtype == dtype
    assert_same(dense[cams.classes], cams.maps)
    assert dense.bool().any(-1).any(-1).nonzero().flatten().tolist() == [3, 7]
