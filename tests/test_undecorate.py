"""Decorated functions as mutmut can change them: nothing else of the source is another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from undecorate import undecorated

import wsss_nonsalient

SOURCE = """\
from contextlib import contextmanager
from functools import cache

@cache
def doubled(
    x: int,
) -> int:
    return 2 * x

class Score:
    @property
    def name(self) -> str:
        return "score"

    @staticmethod
    def zero() -> int:
        return 0

    @contextmanager
    @cache
    def held(self):
        yield 1
"""
CORE = sorted(Path(wsss_nonsalient.__file__).parent.glob("*.py"))


def test_decorators_are_applied_after_the_definition() -> None:
    result = undecorated(SOURCE)
    assert "    return 2 * x\ndoubled = cache(doubled)\n" in result
    assert '        return "score"\n    name = property(name)\n' in result
    assert "    @staticmethod\n    def zero" in result
    assert "        yield 1\n    held = contextmanager(cache(held))\n" in result
    names: dict[str, object] = {}
    exec(result, names)
    assert eval("doubled(3), doubled.cache_info().misses, Score().name", names) == (6, 1, "score")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_of_the_core_only_the_decorators_change(path: Path) -> None:
    def functions(source: str) -> list[ast.FunctionDef]:
        return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]

    source = path.read_text()
    result = undecorated(source)
    assert result.count("\n") <= source.count("\n") + 1
    for before, after in zip(functions(source), functions(result), strict=True):
        assert [ast.unparse(d) for d in after.decorator_list] in ([], ["staticmethod"])
        assert [ast.dump(n) for n in before.body] == [ast.dump(n) for n in after.body]
