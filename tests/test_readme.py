"""The README's Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run() -> None:
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(block, names)
    second_round = names["second_round"]
    assert isinstance(second_round, torch.Tensor)
    assert second_round.shape == (2, 120, 160)
