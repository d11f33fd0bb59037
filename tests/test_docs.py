"""The reference has every public name, and every docstring says what a user needs to know."""

from __future__ import annotations

import importlib
import inspect
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import check_site
import pytest

import wsss_nonsalient

from .doc_blocks import ROOT

SECTION = re.compile(r"^(Args|Returns|Raises|Example|Attributes):$", re.MULTILINE)
SHAPE = re.compile(r"\(([\\*A-Za-z_', +]|\d)+\)|scalar|size|same shape|Returns? a")
INVENTORY = ROOT / "docs" / "_build" / "html" / "objects.inv"


def listed_names() -> set[str]:
    """Names on the reference page, with their modules."""
    names: set[str] = set()
    module = ""
    for line in (ROOT / "docs" / "reference" / "index.md").read_text("utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"(?:   |\.\. py:(?:data|class):: )(\w+)$", line):
            names.add(f"{module}.{found[1]}")
    return names


def test_reference_lists_every_public_name_and_no_other() -> None:
    assert listed_names() == set(check_site.public_names())


@pytest.mark.skipif(not INVENTORY.is_file(), reason="needs `make docs`")
def test_built_inventory_has_every_public_name() -> None:
    if INVENTORY.stat().st_mtime < (ROOT / "docs" / "reference" / "index.md").stat().st_mtime:
        pytest.skip("the site is older than its sources: `make docs`")
    assert check_site.inventory(INVENTORY) >= set(check_site.public_names())


def documented() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Name, owner of the signature, and docstring, of functions, classes and methods."""
    for full_name in check_site.public_names():
        module, _, name = full_name.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if inspect.isfunction(value):
            yield full_name, value, inspect.getdoc(value) or ""
        elif inspect.isclass(value) and not issubclass(value, tuple):
            yield full_name, value.__init__, inspect.getdoc(value) or ""
            for method, function in vars(value).items():
                if inspect.isfunction(function) and method[0] != "_" and method != "extra_repr":
                    yield f"{full_name}.{method}", function, inspect.getdoc(function) or ""


def sections(text: str) -> dict[str, str]:
    """A Google docstring's sections; "" is what comes before them."""
    parts = SECTION.split(text)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> dict[str, str]:
    """The entries of an Args section."""
    return dict(re.findall(r"^ {4}(\w+): ((?:.*\n?)(?: {8}.*\n?|\n(?= {8}))*)", section, re.M))


DOCUMENTED = {name: (function, text) for name, function, text in documented()}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstring_has_args_returns_raises_and_shapes(name: str) -> None:
    function, text = DOCUMENTED[name]
    found = sections(text)
    assert len(found[""].splitlines()[0]) > 10, "no summary"
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "args")]
    args = entries(found.get("Args", ""))
    assert list(args) == [p.name for p in parameters if p.name != "kwargs"]
    for parameter in parameters:
        if parameter.annotation == "Tensor":
            assert SHAPE.search(args[parameter.name]), f"no shape of {parameter.name}"
    if parameters:
        assert "Raises" in found
        assert re.search(r"^ {4}\w+: .", found["Raises"], re.M)
    returned = signature.return_annotation
    if returned not in ("None", None, inspect.Signature.empty) and not returned.startswith(
        "Generator"
    ):
        assert "Returns" in found
        if "Tensor" in returned:
            assert SHAPE.search(found["Returns"]), "no shape of the result"


RESULTS = [
    "CAMOutput",
    "CalibrationResults",
    "ClassResults",
    "LabelReportResults",
    "RegionResults",
    "SegmentationResults",
    "SizeResults",
]


@pytest.mark.parametrize("name", RESULTS)
def test_every_field_of_a_result_is_described(name: str) -> None:
    value = getattr(wsss_nonsalient, name)
    source = inspect.getsource(value)
    for field in value._fields:
        assert re.search(rf"^    {field}: \S.*?  #: .", source, re.M), field


def test_every_function_has_a_doctest() -> None:
    without = [
        name
        for name, (function, text) in DOCUMENTED.items()
        if ">>>" not in text
        and inspect.isfunction(function)
        and "." not in name.removeprefix("wsss_nonsalient.")
    ]
    modules = {"MultiLabelSoftMarginLoss", "IntegralAttentionLoss"}  # their functions have one
    assert {name.rpartition(".")[2] for name in without} <= modules


def test_the_check_of_the_site_finds_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [n for n in check_site.public_names() if not n.endswith("pom_refine")]
    lines = "".join(f"{name} py:function 1 a.html#$ -\n" for name in names)
    head = b"# Sphinx inventory version 2\n# Project: x\n# Version: 1\n# zlib\n"
    (tmp_path / "objects.inv").write_bytes(head + zlib.compress(lines.encode()))
    (tmp_path / "searchindex.js").write_text(
        'Search.setIndex({"terms": {"pom": 0, "显": 0}, "titleterms": {"ignore_index": 0}})',
        encoding="utf-8",
    )
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">a</a><a href="#nowhere">b</a><a href="b.html">c</a>'
        '<img src="gone.png"><script src="https://example.org/x.js"></script>'
        '<a href="https://example.org">d</a>'
    )
    assert check_site.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "not documented: wsss_nonsalient.pom_refine",
        "search does not find 显著",
        "a.html: would fetch https://example.org/x.js",
        "a.html: no anchor for #nowhere",
        "a.html: no file for b.html",
        "a.html: no file for gone.png",
        f"1 pages, {len(names)} names, 6 faults",
    ]
