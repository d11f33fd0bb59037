"""Write decorated functions as plain ones that are decorated after their definition.

mutmut leaves decorated functions out. ``python tools/undecorate.py FILE...`` changes the files in
place, so it is for a copy: docs/mutation.md.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MUTATED_ANYWAY = (["staticmethod"], ["classmethod"])


def undecorated(source: str) -> str:
    """Python source in which ``@a`` over ``def f`` has become ``f = a(f)`` below it."""
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda node: -node.lineno):  # the last first
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if not decorators or decorators in MUTATED_ANYWAY:
            continue
        call = function.name
        for decorator in reversed(decorators):
            call = f"{decorator}({call})"
        lines.insert(
            function.end_lineno or 0, f"{' ' * function.col_offset}{function.name} = {call}"
        )
        del lines[function.decorator_list[0].lineno - 1 : function.lineno - 1]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(undecorated(path.read_text()))
