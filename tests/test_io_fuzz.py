"""Readers of damaged and hostile files: our errors, no crash, no hang.

``IO_FUZZ_EXAMPLES`` sets how many files a test makes.
"""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import io_files
from wsss_nonsalient import io
from wsss_nonsalient.io._unpickle import load_npy

fuzz = settings(
    max_examples=int(os.environ.get("IO_FUZZ_EXAMPLES", "60")),
    deadline=10_000,
    database=None,
    derandomize="IO_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Reader = Callable[[Path], Any]


def _cams(name: str) -> Reader:
    return lambda path: io.read_cams(path.parent, "a", format=name, image_labels=[3])


NPY: tuple[Reader, ...] = (
    load_npy,
    *(_cams(name) for name in (*io_files.DICT_FORMATS, "wsol", "auto")),
    io.read_image_labels,
    lambda path: io.read_image_labels(path, ids=["a"]),
    lambda path: io.detect_cam_format(path.parent),
)
PNG: tuple[Reader, ...] = (io.read_label, io.read_saliency)
TEXT: tuple[Reader, ...] = (
    io.read_image_labels,
    lambda path: io.read_image_labels(path, format="text", category_ids=[2, 5]),
    io.list_ids,
)


def assert_only_our_errors(readers: tuple[Reader, ...], name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        for reader in readers:
            try:
                reader(path)
            except (ValueError, OSError) as error:
                assert str(error).startswith((folder, "[Errno")), error  # noqa: PT017


Edit = tuple[int, int, bytes]
# Numbers that matter: small ones, extremes, opcodes, lengths of four and eight bytes.
_POISON = [b"", b"\0", b"\xff", b"(", b"\x80", b".", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8]
_POISON += [struct.pack("<I", 2**31), struct.pack("<Q", 2**40), b"9" * 30, b"[" * 300, b"((" * 40]
edits = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(0, 12),
        st.one_of(st.sampled_from(_POISON), st.binary(max_size=8)),
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """The data with some stretches replaced; a length of 12 cuts the rest off or doubles it."""
    for position, length, content in changes:
        position %= len(data) + 1
        if length == 12:
            data = data[:position] + content + data[position // 2 :] * (len(content) % 2)
        else:
            data = data[:position] + content + data[position + length :]
    return data


NPY_SEEDS = [
    *(io_files.object_npy(io_files.dumped(name)) for name in io_files.DICT_FORMATS),
    *(io_files.object_npy(io_files.dumped("irn", order=">"), protocol=p) for p in (0, 2, 4, 5)),
    *(io_files.object_npy(io_files.dumped("psa"), core=c) for c in ("numpy.core", "numpy._core")),
    io_files.object_npy({"2007_000032": np.array([0.0, 1.0]), np.int32(2007000033): [1, 0]}),
    io_files.object_npy([{"a": (1, None, True, 2.5, b"x", np.str_("b"))}]),
    io_files.object_npy({"keys": [0, 1], "cam": torch.ones(1, 2, 2, dtype=torch.bfloat16)}),
    io_files.plain_npy(io_files.unit_maps()[0]),
    io_files.plain_npy(np.array([[0, 1], [1, 0]])),
]


@fuzz
@given(st.sampled_from(NPY_SEEDS), edits)
def test_damaged_npy(seed: bytes, changes: list[Edit]) -> None:
    assert_only_our_errors(NPY, "a.npy", edited(seed, changes))


_NAMES = ["numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar", "numpy ndarray"]
_NAMES += [
    "numpy dtype",
    "_codecs encode",
    "collections OrderedDict",
    "torch.storage _load_from_bytes",
]
_NAMES += ["torch._utils _rebuild_tensor_v2", "builtins bytes", "torch FloatStorage", "os system"]
_NAMES += ["numpy._core.numeric _frombuffer", "builtins eval", "torch._utils _rebuild_parameter"]
_PLAIN = [o.code.encode("latin1") for o in pickletools.opcodes if o.arg is None]
_BLOB = pickle.dumps(torch.zeros(2))
_BLOB = next(a for _, a, _ in pickletools.genops(_BLOB) if isinstance(a, bytes))
opcodes = st.lists(
    st.one_of(
        st.sampled_from(_PLAIN),
        st.sampled_from([b"c" + name.replace(" ", "\n").encode() + b"\n" for name in _NAMES]),
        st.sampled_from(
            [f"X{len(t):c}\0\0\0{t}".encode() for t in ("f4", "O8", "<", "latin1", "keys")]
        ),
        st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
        st.integers(-(2**31), 2**31 - 1).map(lambda n: b"J" + struct.pack("<i", n)),
        st.integers(0, 4).map(lambda n: b"h" + bytes([n])),
        st.integers(0, 4).map(lambda n: b"q" + bytes([n])),
        st.integers(0, 2**32 - 1).map(lambda n: b"r" + struct.pack("<I", n)),
        st.sampled_from([b"B" + struct.pack("<I", n) for n in (0, 2**31, 2**32 - 1)]),
        st.just(b"B" + struct.pack("<I", len(_BLOB)) + _BLOB),
        st.sampled_from(
            [b"C\x04\0\0\x80\x3f", b"C\x08abcdefgh", b"\x85", b"R", b"b", b"\x86", b"N"]
        ),
        st.binary(max_size=4),
    ),
    max_size=60,
)


@fuzz
@given(opcodes)
def test_made_up_pickles(codes: list[bytes]) -> None:
    assert_only_our_errors(NPY, "a.npy", io_files.raw_npy(b"\x80\x03" + b"".join(codes) + b"."))


PNG_SEEDS = [
    io_files.png(io_files.levels()[0]),
    io_files.png(io_files.levels()[0], "P"),
    io_files.png(io_files.levels()[0], "RGB"),
    io_files.png(io_files.levels()[0] > 99),
    io_files.png(io_files.levels()[0].astype(np.uint16) * 200),
    io_files.interlaced_png(io_files.levels()[0]),
    io_files.interlaced_png(io_files.levels()[0], palette=bytes(768)),
    io_files.png_of(6, 2, 4, 3, b"\0\x01\x23\x45\0\x01\x23\x45", palette=bytes(48)),
]


@fuzz
@given(st.sampled_from(PNG_SEEDS), edits)
def test_damaged_png(seed: bytes, changes: list[Edit]) -> None:
    assert_only_our_errors((*PNG, nsrom), "a_3.png", edited(seed, changes))


def nsrom(path: Path) -> Any:
    return io.read_cams(path.parent, "a", format="nsrom")


@fuzz
@given(st.sampled_from(PNG_SEEDS), st.integers(0, 5), edits)
def test_damaged_png_with_right_checksums(seed: bytes, which: int, changes: list[Edit]) -> None:
    chunks = []
    position = 8
    while position < len(seed):
        length = int.from_bytes(seed[position : position + 4], "big")
        chunks.append((seed[position + 4 : position + 8], seed[position + 8 :][:length]))
        position += 12 + length
    name, content = chunks[which % len(chunks)]
    chunks[which % len(chunks)] = (name, edited(content, changes))
    data = seed[:8] + b"".join(io_files.chunk(*c) for c in chunks)
    assert_only_our_errors((*PNG, nsrom), "a_3.png", data)


NPZ_SEEDS = [
    io_files.npz({"classes": np.array([1, 2]), "maps": io_files.levels()}, compressed=compressed)
    for compressed in (False, True)
]


@fuzz
@given(st.sampled_from(NPZ_SEEDS), edits)
def test_damaged_npz(seed: bytes, changes: list[Edit]) -> None:
    assert_only_our_errors((_cams("npz"), _cams("auto")), "a.npz", edited(seed, changes))


TEXT_SEEDS = [
    b"2007_000032 0 14\r\n2007_000033\n2007_000039 19",
    b'{"2007_000032": [0, 14], "2007_000033": []}',
    json.dumps(
        {
            "images": [{"id": 9, "file_name": "000000000009.jpg"}],
            "annotations": [{"image_id": 9, "category_id": 90}],
            "categories": [{"id": 1}, {"id": 90}],
        }
    ).encode(),
]


@fuzz
@given(st.sampled_from(TEXT_SEEDS), edits, st.sampled_from(["a.txt", "a.json"]))
def test_damaged_lists(seed: bytes, changes: list[Edit], name: str) -> None:
    assert_only_our_errors(TEXT, name, edited(seed, changes))


@fuzz
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists), st.booleans())
def test_made_up_text(content: Any, as_object: bool) -> None:
    text = json.dumps({"a": content}) if as_object or not isinstance(content, str) else content
    data = text.encode("utf-8", "surrogatepass")
    assert_only_our_errors(TEXT, "a.json", data)
    assert_only_our_errors(TEXT, "a.txt", data)


@fuzz
@given(edits)
def test_damaged_xml(changes: list[Edit]) -> None:
    data = edited(io_files.annotation("dog", "cat", part="head"), changes)
    readers: tuple[Reader, ...] = (lambda path: io.read_image_labels(path.parent),)
    assert_only_our_errors(readers, "a.xml", data)


@pytest.mark.parametrize("data", [b"", b"\0", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_hardly_a_file(data: bytes) -> None:
    assert_only_our_errors(NPY, "a.npy", data)
    assert_only_our_errors((*PNG, nsrom), "a_3.png", data)
    assert_only_our_errors((_cams("npz"), _cams("auto")), "a.npz", data)
    assert_only_our_errors((lambda path: io.read_image_labels(path.parent),), "a.xml", data)
