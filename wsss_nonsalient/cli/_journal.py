"""Which images of a run are done, where only the work tells what their files are called."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

Note = Callable[[str, Sequence[str]], None]
"""Note that an image is done, and the names of its files."""


def read_journal(path: Path) -> dict[str, list[str]]:
    """Names of the files of each image that is done; a line that a kill cut off does not count."""
    done: dict[str, list[str]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                image_id, names = json.loads(line)
            except ValueError:
                continue
            done[image_id] = names
    return done


@contextmanager
def journal(path: Path) -> Generator[Note, None, None]:
    """Add to a journal, image by image."""
    with path.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # ends a line that a kill cut off

        def note(image_id: str, names: Sequence[str]) -> None:
            file.write(json.dumps([image_id, list(names)]) + "\n")
            file.flush()

        yield note
