"""Which images of a run are done, where only the work tells what their files are called."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..io._arrays import is_list

Note = Callable[[str, Sequence[str]], None]
"""Note that an image is done, and the names of its files."""


def read_journal(path: Path) -> dict[str, set[str]]:
    """Names of the files of each image that is done; a line that a kill cut off does not count."""
    done: dict[str, set[str]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                note: object = json.loads(line)
            except ValueError:
                continue
            if is_list(note) and note and all(isinstance(name, str) for name in note):
                done[note[0]] = set(note[1:])
    return done


@contextmanager
def journal(path: Path) -> Generator[Note, None, None]:
    """Add to a journal, image by image."""
    with path.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # ends a line that a kill cut off

        def note(image_id: str, names: Sequence[str]) -> None:
            file.write(json.dumps([image_id, *names]) + "\n")
            file.flush()

        yield note
