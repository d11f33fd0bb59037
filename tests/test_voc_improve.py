"""examples/voc/improve.py on a very small data set."""

from __future__ import annotations

from pathlib import Path

import improve
import pytest

from .voc_runs import options


def test_rows_share_what_they_have_in_common_and_resume(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "improve"
    rows = ("paper", "confident_refined", "refined_maps", "combined", "no_saliency", "true_masks",
            "confident")  # fmt: skip
    arguments = options(small_data, out, "--seeds=1", "--rows", *rows)
    result = improve.main(arguments)
    assert result["rows"]["true masks"]["labels"]["miou"][0] == 1
    assert len(result["rows"]) == 10  # three of them with refined predictions too
    text = (out / "improve.md").read_text()
    mean, spread = result["rows"]["paper"]["segmentation"]["miou"]
    assert f"| paper | {100 * mean:.1f} ± {100 * spread:.1f} |" in text
    paper, others = out / "seed0" / "paper", [out / "seed0" / row for row in rows[1:]]
    for other in others:
        assert (other / "maps").resolve() == paper / "maps"
    assert (others[0] / "segmentation_1").resolve() == paper / "segmentation_1"
    assert (others[2] / "segmentation_1").resolve() == others[1] / "segmentation_1"
    labels = {folder.name: _labels(folder) for folder in (paper, *others[:4])}
    assert len(set(labels.values())) == len(labels)

    def fail(*_: object) -> None:
        raise AssertionError("done again")

    for name in ("score_folder", "train_both_rounds"):
        monkeypatch.setattr(improve, name, fail)
    assert improve.main(arguments) == result


def _labels(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((folder / "labels/nsrm").glob("*.png")))
