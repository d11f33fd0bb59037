"""examples/voc/ablate.py on a very small data set."""

from __future__ import annotations

from pathlib import Path

import ablate
import pytest

from .voc_runs import options


def test_rows_resume_and_agree_with_the_run(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = options(small_data, tmp_path / "ablation", "--seeds=2")
    result = ablate.main(arguments)
    assert list(result["rows"]) == ["baseline", "+ unit", "+ POM", "+ NSRM"]
    assert result["seeds"] == [0, 1]
    text = (tmp_path / "ablation" / "ablation.md").read_text()
    mean, spread = result["rows"]["+ NSRM"]["segmentation"]["miou"]
    assert f"| + NSRM | {100 * mean:.1f} ± {100 * spread:.1f} |" in text

    def fail(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(ablate, "score_folder", fail)
    assert ablate.main(arguments) == result


def test_spread() -> None:
    assert ablate.spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert ablate.spread([0.25]) == (0.25, 0.0)
    assert ablate.spread([0.25, None]) is None
    assert ablate.plus_minus((0.5, 0.125)) == "50.0 ± 12.5"
    assert ablate.plus_minus(None) == "-"
