"""Object names of a PASCAL VOC annotation."""

from __future__ import annotations

from xml.parsers import expat

from ._files import RefusedError

_NAME = ["annotation", "object", "name"]


def object_names(data: bytes) -> list[str]:
    """Names of the objects (difficult ones too, parts of objects not) in an XML file's bytes.

    A document type is refused, for entities in it can refer to other files and grow without end.
    """
    path: list[str] = []
    texts: list[str] = []
    parser = expat.ParserCreate()

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag)
        if len(path) == 1 and tag != "annotation":
            raise RefusedError("expected a VOC annotation, got other XML")
        if path == _NAME:
            texts.append("")

    def end(_: str) -> None:
        path.pop()

    def text(piece: str) -> None:
        if path == _NAME:
            texts[-1] += piece
            if len(texts[-1]) > 200:
                raise RefusedError("it has an object name of more than 200 characters")

    def refuse(*_: object) -> None:
        raise RefusedError("it has a document type, which no VOC annotation has")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    parser.Parse(data, True)
    return [name.strip() for name in texts]
