"""Reading .npy files: what data may be in them, and that nothing else is ever run."""

from __future__ import annotations

import builtins
import gc
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import io_files
from tests.io_files import NUMPY_1, NUMPY_2, object_npy, raw_npy
from wsss_nonsalient.io._pickle_machine import Machine
from wsss_nonsalient.io._pickled_arrays import ArrayReader
from wsss_nonsalient.io._unpickle import load_npy

NUMBERS = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")


def loaded(folder: Path, data: bytes) -> Any:
    path = folder / "a.npy"
    path.write_bytes(data)
    return load_npy(path)


def assert_refused(folder: Path, data: bytes, message: str = "") -> None:
    with pytest.raises(ValueError, match=rf"^{folder / 'a.npy'}: .*{message}"):
        loaded(folder, data)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", NUMBERS + FLOATS)
def test_plain_arrays(dtype: str, order: str, tmp_path: Path) -> None:
    for array in (np.arange(6).reshape(2, 3) % 2, np.zeros((0, 3)), np.array(1)):
        array = array.astype(np.dtype(dtype).newbyteorder(order))  # type: ignore[arg-type]
        for ordered in (array, np.asfortranarray(array)):
            result = loaded(tmp_path, io_files.plain_npy(ordered))
            np.testing.assert_array_equal(result, array)
            assert result.dtype == array.dtype


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", NUMBERS + FLOATS)
def test_pickled_arrays(dtype: str, order: str, protocol: int, tmp_path: Path) -> None:
    array = (np.arange(12).reshape(3, 4) % 2).astype(np.dtype(dtype).newbyteorder(order))  # type: ignore[arg-type]
    value = {0: array, 1: array.T, 2: array[::2, ::-1], 3: array[:0], 4: np.array(array[1, 1])}
    result = loaded(tmp_path, object_npy(value, protocol))
    assert list(result) == list(value)
    for key, expected in value.items():
        np.testing.assert_array_equal(result[key], expected)
        assert result[key].dtype == expected.dtype


@pytest.mark.parametrize("core", [NUMPY_1, NUMPY_2])
@pytest.mark.parametrize("protocol", [2, 3])
def test_names_of_old_and_new_numpy(core: str, protocol: int, tmp_path: Path) -> None:
    value = {0: io_files.unit_maps(), np.int32(5): np.float32(0.5)}
    data = object_npy(value, protocol, core)
    assert data.count(f"c{core}.".encode()) == 2
    result = loaded(tmp_path, data)
    np.testing.assert_array_equal(result[0], value[0])
    assert result[5] == 0.5


def test_a_file_of_python_2(tmp_path: Path) -> None:
    """``np.save`` of {1: array} there: text opcodes for bytes, Python 2's own names."""
    state = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    dtype = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR" + state
    new = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    array = new + b"(K\x01(K\x01K\x02t" + dtype + b"\x89U\x08\x00\x00\x80\x3f\x00\x00\x00\xc0tb"
    kind = dtype.replace(b"f4", b"O8").replace(b"<", b"|").replace(b"K\x00tb", b"K\x3ftb")
    data = b"\x80\x02" + new + b"(K\x01(t" + kind + b"\x89](}(K\x01" + array + b"uetb."
    np.testing.assert_array_equal(loaded(tmp_path, raw_npy(data))[1], [[1, -2]])


TENSORS = {
    "float32": torch.arange(6.0).reshape(2, 3),
    "float64": torch.arange(6.0, dtype=torch.float64),
    "float16": torch.arange(6.0).half(),
    "int64": torch.tensor([3, 7]),
    "int32": torch.tensor([3, 7], dtype=torch.int32),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "view": torch.arange(12.0).reshape(3, 4)[1:, ::2],
    "transposed": torch.arange(12.0).reshape(3, 4).T,
    "empty": torch.zeros(0, 4, 5),
    "number": torch.tensor(2.5),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "gradient": torch.ones(2, requires_grad=True),
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", TENSORS)
def test_torch_tensors(name: str, protocol: int, tmp_path: Path) -> None:
    tensor = TENSORS[name]
    result = loaded(tmp_path, object_npy({"cam": tensor}, protocol))["cam"]
    expected = tensor.detach().numpy()
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    tensor = torch.tensor([0.1, -2.0, torch.inf]).bfloat16()
    result = loaded(tmp_path, object_npy([tensor]))
    np.testing.assert_array_equal(result[0], tensor.float().numpy())


def test_a_tensor_of_a_gpu(tmp_path: Path) -> None:
    data = object_npy([torch.tensor([1.5, 2.0])])
    assert data.count(b"X\x03\x00\x00\x00cpu") == 1
    moved = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    blob = data.index(b"\x80\x02\x8a\x0a") - 4
    size = struct.unpack_from("<I", data, blob)[0] + 3
    moved = moved[:blob] + struct.pack("<I", size) + moved[blob + 4 :]
    assert loaded(tmp_path, moved)[0].tolist() == [1.5, 2.0]


def test_plain_values(tmp_path: Path) -> None:
    value = {
        "a": [1, -(2**70), 2.5, True, None, "猫", b"\x00\xff", (1, (2, [3]))],
        "b": OrderedDict(),
        7: np.str_("2007_000032"),
    }
    result = loaded(tmp_path, object_npy(value, 4))
    assert result == value
    assert type(result[7]) is str
    big_endian = np.array("é猫", ">U2")[()]
    assert loaded(tmp_path, object_npy([np.float64(0.1), np.bool_(True), big_endian])) == [
        0.1,
        True,
        "é猫",
    ]
    assert loaded(tmp_path, object_npy({})) == {}


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def touch(path: Path) -> str:
    return f"touch {path}"


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused_and_not_made(protocol: int, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    calls = {
        "(posix|nt).system": Call(os.system, touch(trap)),
        "eval": Call(builtins.eval, code),
        "exec": Call(builtins.exec, code),
        "getattr": Call(builtins.getattr, "a", "upper"),
        "Popen": Call(subprocess.Popen, ["touch", str(trap)]),
        "pickle.*loads": Call(pickle.loads, pickle.dumps(Call(os.system, touch(trap)))),
        "torch.*load": Call(torch.load, str(trap)),
        "numpy.*load": Call(np.load, str(trap)),
    }
    for name, call in calls.items():
        for value in (call, {0: call}, [np.zeros(2), (call,)]):
            assert_refused(tmp_path, object_npy(value, protocol), f"{name}.*; it was not run")
        assert_refused(tmp_path, raw_npy(pickle.dumps(call, protocol)), "it was not run")
    assert not trap.exists()
    pickle.loads(pickle.dumps(calls["(posix|nt).system"]))  # the trap does work
    assert trap.exists()


def tensor_call(blob: bytes) -> Call:
    return Call(
        torch._utils._rebuild_tensor_v2, Call(torch.storage._load_from_bytes, blob), 0, (), ()
    )


def test_a_pickle_in_a_tensor_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    bomb = Call(os.system, touch(trap))
    archive = tmp_path / "bomb.pt"
    torch.save({"a": bomb}, archive)
    old = tmp_path / "old.pt"
    torch.save({"a": bomb}, old, _use_new_zipfile_serialization=False)
    for blob in (pickle.dumps(bomb), archive.read_bytes(), old.read_bytes()):
        for value in (tensor_call(blob), Call(torch.storage._load_from_bytes, blob)):
            assert_refused(tmp_path, object_npy(value))
    good = pickle.dumps(torch.zeros(2), 3)
    start = good.index(b"\x80\x02\x8a\x0a")
    for at in (0, 1, 2, 3, 4):  # in the place of each of the five pickles of a storage
        parts = good[start:].split(b".\x80\x02", 4)
        parts[at] = (
            pickle.dumps(bomb, 2).removesuffix(b".").removeprefix(b"\x80\x02" if at else b"")
        )
        blob = b".\x80\x02".join(parts)
        assert_refused(tmp_path, object_npy(tensor_call(blob)), "system.*; it was not run")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"ios\nsystem\n.", "opcode INST"),
        (b"(cos\nsystem\no.", "os.system"),
        (b"(cnumpy\ndtype\no.", "opcode OBJ"),
        (b"cnumpy\ndtype\n)\x81.", "opcode NEWOBJ"),
        (b"cnumpy\ndtype\n)}\x92.", "opcode NEWOBJ_EX"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"Pa\n.", "opcode PERSID"),
        (b"K\x01Q.", "refers to objects"),
        (b"cnumpy\nndarray\n)R.", "calls what is no part of data"),
        (b"Xa", "exhausted|damaged"),
        (b"K\x01", "exhausted"),
        (b".", "nothing to take"),
        (b"t.", "no mark"),
        (b"K\x01(0.", "nothing to take"),
        (b"K\x01}b.", "int in a wrong place|dict in a wrong place"),
        (b"h\x07.", "never made"),
        (b"}K\x01u.", "no mark"),
        (b"}(K\x01u.", "without a value"),
        (b"K\x01\x93.", "nothing to take"),
        (b"K\x01K\x01\x93.", "no string"),
        (b"cnumpy\ndtype\nK\x01R.", "without a tuple"),
        (b"cnumpy\ndtype\n(X\x02\0\0\0f4tR.", "no data"),
        (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R.", "no data"),
        (b"}G\0\0\0\0\0\0\0\0K\x01s.", "no string and no integer"),
        (b"})K\x01s.", "no string and no integer"),
        (b"](h\0e.", "never made"),
        (b"]q\0h\0a.", "contains itself"),
        (b"}q\0K\x01h\0s.", "contains itself"),
        (b"]" * 30 + b"a" * 29 + b".", "nested too deeply"),
        (b"(" * 20_000 + b"t" * 20_000 + b".", "nested too deeply"),
        (b"]" * 20_000 + b"a" * 19_999 + b".", "nested too deeply"),
        (b"cos\n" + b"\x1b[31m" * 50 + b"\n.", r"\\x1b"),
    ],
)
def test_odd_pickles_are_refused(code: bytes, message: str, tmp_path: Path) -> None:
    assert_refused(tmp_path, raw_npy(code), message)
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        loaded(tmp_path, raw_npy(code))
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


DTYPE = b"cnumpy\ndtype\n(X\x02\0\0\0f4tR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\ntR"
SCALAR = b"cnumpy.core.multiarray\nscalar\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"cnumpy\ndtype\nK\1\x85R.", "an array of an unknown kind"),
        (DTYPE + b"(K\3X\1\0\0\0<(K\1tNNtb.", "an array of structures"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(NtR.", "an array of an unknown class"),
        (ARRAY + b"(K\1)K\1\x89C\0tb.", "an array without a kind"),
        (ARRAY + b"(K\1)" + DTYPE + b"\x89Ntb.", "an array that is not in bytes"),
        (ARRAY + b"(K\1K\1" + DTYPE + b"\x89C\0tb.", "a shape that is no shape"),
        (ARRAY + b"(K\1(\x88t" + DTYPE + b"\x89C\4abcdtb.", "a shape that is no shape"),
        (ARRAY + b"(K\1" + b"(" + b"K\1" * 9 + b"t" + DTYPE + b"\x89C\4abcdtb.", "no shape"),
        (ARRAY + b"(K\1)" + DTYPE + b"\x89C\3abctb.", "in 3 bytes"),
        (ARRAY + b"Nb.", ""),
        (ARRAY + b"(K\1tb.", ""),
        (SCALAR + b"(K\1C\0tR.", "a number without a kind"),
        (SCALAR + b"(" + DTYPE + b"C\3abctR.", "in 3 bytes"),
        (SCALAR + b"(" + DTYPE.replace(b"f4", b"U1") + b"C\4\xff\xff\xff\xfftR.", ""),
        (b"c_codecs\nencode\n(X\1\0\0\0aX\4\0\0\0utf8tR.", "bytes in an unknown encoding"),
        (b"c_codecs\nencode\n(X\3\0\0\0\xe7\x8c\xabX\6\0\0\0latin1tR.", ""),
        (b"ctorch.storage\n_load_from_bytes\n(NtR.", "a storage that is not in bytes"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))tR.", "a tensor without storage"),
        (b"ctorch.storage\n_load_from_bytes\n(C\x09N.N.N.N.NtR.", ""),
        (b"ctorch.storage\n_load_from_bytes\n(C\6N.N.N.tR.", "a tensor in an unknown layout"),
        (b"cnumpy\nndarray\n.", "no data"),
        (b"](K\1K\2e0K\1.", None),
        (b"(K\1K\0021K\1.", None),
    ],
)
def test_odd_arrays_are_refused(code: bytes, message: str | None, tmp_path: Path) -> None:
    if message is None:
        assert loaded(tmp_path, raw_npy(code)) == 1
    else:
        assert_refused(tmp_path, raw_npy(code), message)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x8a\nl\xfc\x9c", b"\x8a\nl\xfc\x9d"),
        (b"storage", b"starage"),
        (b"FloatStorage", b"QuintStorage"),
        (b"\x02\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0"),
        (b"\x02\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\0\0\0\0"),
    ],
)
def test_odd_storages_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    data = object_npy([torch.tensor([1.0, 2.0])])
    head, blob = data.split(b"_load_from_bytes", 1)
    assert old in blob
    assert_refused(tmp_path, head + b"_load_from_bytes" + blob.replace(old, new))


def doubled(open_: bytes) -> bytes:
    """A value that holds itself twice, 60 times over: 2^60 items to whom does not notice."""
    twice = b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60))
    return open_ + b"q\x000" + twice + b"h\x3c"


def test_what_grows_without_end_is_noticed_at_once(tmp_path: Path) -> None:
    assert_refused(tmp_path, raw_npy(doubled(b")") + b"."), "nested too deeply")
    assert_refused(tmp_path, raw_npy(b"}" + doubled(b")") + b"K\x01s."), "no string and no integer")
    blob = pickle.dumps(torch.zeros(2), 3)
    blob = blob[blob.index(b"\x80\x02\x8a\x0a") :]
    key = b"X\x0e\0\0\0" + blob[blob.index(b"X\x0e\0\0\0") + 5 :][:14]
    if blob.count(key) == 2:
        head, tail = blob.rsplit(key, 1)
        deep = head.replace(key, doubled(b")")) + doubled(b")") + tail
        assert_refused(tmp_path, object_npy(tensor_call(deep)))
    once = pickle.dumps(b"x" * 10**6, 3)[2:-1]
    encoded = b"cnumpy.core.multiarray\nscalar\nq\1(cnumpy\ndtype\n(X\x07\0\0\0U250000tRq\2" + once
    again = b"h\1h\2h\0\x86R0" * 10_000
    assert_refused(tmp_path, raw_npy(b"](" + encoded + b"tR0" + again + b"e."))


def test_bytes_made_again_and_again_are_counted(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\0" + b"0"
    latin = b"c_codecs\nencode\nq\1(h\0X\6\0\0\0latin1q\2tR"
    assert len(loaded(tmp_path, raw_npy(text + latin + b"."))) == 10**6
    again = b"h\1(h\0h\2tR" * 10
    assert_refused(tmp_path, raw_npy(text + b"](" + latin + again + b"e."), "far more than its own")


def resized(data: bytes, old: int, new: int) -> bytes:
    """Shapes of the pickle with a number in the place of another."""
    return data.replace(b"K" + bytes([old]), b"J" + struct.pack("<i", new))


@pytest.mark.parametrize("new", [0, 1, 2**31 - 1, -1])
def test_shapes_that_do_not_fit_their_bytes(new: int, tmp_path: Path) -> None:
    for value in (np.zeros((13, 2)), torch.zeros(13, 2)):
        data = resized(object_npy([value]), 13, new)
        if new == 0 or (new == 1 and isinstance(value, torch.Tensor)):
            assert isinstance(value, np.ndarray) or loaded(tmp_path, data)[0].shape == (new, 2)
        else:
            assert_refused(tmp_path, data)


def test_no_view_leaves_its_storage(tmp_path: Path) -> None:
    data = object_npy([torch.arange(26.0)[13:]])
    for new in (14, 2**31 - 1, -1):
        assert_refused(tmp_path, resized(data, 13, new))
    expanded = object_npy([torch.zeros(1).expand(1000)])
    assert_refused(tmp_path, expanded, "larger than its storage")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, [("a", "i4")]),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, complex),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V3"),
        np.zeros(2, np.longdouble),
        {1, 2},
        1j,
        np.array([[None, 1], [2, 3]], object),
        Path("a"),
        range(3),
    ],
)
def test_other_kinds_of_values_are_refused(value: Any, tmp_path: Path) -> None:
    assert_refused(tmp_path, object_npy([value]))
    if isinstance(value, np.ndarray) and value.dtype != object and value.dtype.kind != "g":
        if value.dtype == np.longdouble:
            return
        assert_refused(tmp_path, io_files.plain_npy(value))


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    files = [
        object_npy(io_files.dumped("irn")),
        object_npy(io_files.dumped("psa"), 4),
        io_files.plain_npy(io_files.levels()[0]),
    ]
    for data in files:
        loaded(tmp_path, data)
        for end in range(len(data)):
            assert_refused(tmp_path, data[:end])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (io_files.npy_header("|u1", (4_000_000_000,)), "claims shape"),
        (io_files.npy_header("<f8", (2**62, 2**62)), "claims shape"),
        (io_files.npy_header("<f8", (-1, 1)), "claims shape"),
        (io_files.npy_header("<f8,<f8", (1,)), "not of numbers"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", ""),
        (b"\x93NUMPY\x03\x00\x00\x00\x00\x00", "version 3.0"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000, ""),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 10_000, ""),
        (io_files.npy_header("|O", (4_000_000_000,)) + b"\x80\x03N.", None),
    ],
)
def test_headers_that_promise_too_much(header: bytes, message: str | None, tmp_path: Path) -> None:
    if message is None:
        assert loaded(tmp_path, header) is None
    else:
        assert_refused(tmp_path, header, message)


_PEAK = """
import sys
from pathlib import Path
from wsss_nonsalient import io
from wsss_nonsalient.io._pickle_machine import Machine
from wsss_nonsalient.io._pickled_arrays import ArrayReader
from wsss_nonsalient.io._unpickle import load_npy

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmPeak:")[1].split()[0]) // 1024

def read(path):
    readers = {".npy": [load_npy], ".npz": [lambda p: io.read_cams(p.parent, p.stem)]}
    for reader in readers.get(path.suffix, [io.read_label, io.read_saliency]):
        try:
            reader(path)
        except ValueError as error:
            print(path.name, str(error)[-60:])
        else:
            raise SystemExit(f"{path} was read")

files = sorted(Path(sys.argv[1]).iterdir())
small = [path for path in files if path.name.startswith("0")]
for path in small:
    read(path)
before = peak()
for path in files:
    read(path)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_small_files_that_claim_4_gigabytes_allocate_nothing(tmp_path: Path) -> None:
    """Address space, so that memory counts that is asked for and not touched."""
    huge = {
        "plain.npy": io_files.npy_header("|u1", (4_000_000_000,)) + b"\0" * 99,
        "header.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        "bytes.npy": raw_npy(b"\x80\x04\x8e" + struct.pack("<Q", 2**32) + b"abc."),
        "bytearray.npy": raw_npy(b"\x80\x05\x96" + struct.pack("<Q", 2**32) + b"abc."),
        "text.npy": raw_npy(b"\x80\x04\x8d" + struct.pack("<Q", 2**32) + b"abc."),
        "frame.npy": raw_npy(b"\x80\x04\x95" + struct.pack("<Q", 2**32) + b"abc."),
        "memo.npy": raw_npy(b"\x80\x02Nr" + struct.pack("<I", 2**31) + b"0."),
        "array.npy": resized(object_npy([np.zeros((13, 2))]), 13, 2**29),
        "tensor.npy": resized(object_npy([torch.zeros(13, 2)]), 13, 2**29),
        "storage.npy": resized(object_npy([torch.zeros(13)]), 13, 2**29),
        "gray.png": io_files.png_of(65_000, 65_000, 8, 0, bytes(10**6)),
        "palette.png": io_files.png_of(2**31 - 1, 2, 8, 3, bytes(10**6), palette=bytes(768)),
        "one.png": io_files.png_of(190_000, 190_000, 1, 0, bytes(10**6)),
        "rgb.png": io_files.png_of(37_000, 37_000, 8, 2, bytes(10**6)),
        "maps.npz": io_files.npz(
            {"classes": np.array([1]), "maps": np.zeros((1, 9000, 9000))}, compressed=True
        ),
    }
    for name, data in huge.items():
        assert len(data) < 2 * 10**6
        (tmp_path / name).write_bytes(data)
    (tmp_path / "0.npy").write_bytes(raw_npy(pickle.dumps(1j)))
    (tmp_path / "0.png").write_bytes(io_files.png(np.zeros((4, 4), np.uint16))[:-20])
    result = subprocess.run(
        [sys.executable, "-c", _PEAK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout.split()[-1]) < 200, result.stdout


def test_only_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_npy(tmp_path / "a.npy")
    with pytest.raises(IsADirectoryError):
        load_npy(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npy")
        with pytest.raises(ValueError, match="regular file"):
            load_npy(tmp_path / "pipe.npy")


@pytest.mark.parametrize("values", [torch.ones(2, 3), np.ones((2, 3), np.float32)])
def test_nothing_of_a_file_waits_for_the_garbage_collector(values: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(object_npy({"cam": values}))
    gc.collect()
    gc.disable()
    try:
        load_npy(path)
        left = [o for o in gc.get_objects() if type(o) in (Machine, ArrayReader)]
    finally:
        gc.enable()
    assert not left
