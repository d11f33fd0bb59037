"""A reader of pickles that cannot run anything: the opcodes that data needs, over a plain stack.

Python's own unpickler imports what a pickle names and calls it. This one knows names as names: a
pickle may only ask for the calls that it is given here, and no code of the pickle's choice is ever
looked up. It keeps to memory in proportion to the file, too: lengths are checked against the bytes
that are there, and dictionary keys are strings and integers, whose hashing takes no time.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from ._arrays import is_tuple
from ._files import RefusedError, shown

Call = Callable[..., Any]
Step = Callable[[Any], None]

_CONSTANTS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT"
)


class GlobalName(NamedTuple):
    """A name that a pickle asked for, ``"module name"``; it stays a name."""

    name: str


class Pending:
    """An object that a pickle makes first and fills later."""

    def fill(self, state: Any) -> None:
        """Take the state that BUILD sets."""
        raise NotImplementedError


class Machine:
    """Runs the opcodes of one pickle in a stream.

    Args:
        stream: Stands at the pickle's first byte, and stands behind its last one after :meth:`run`.
        calls: What the pickle may call, by ``"module name"``.
        names: Names that it may mention without calling them.
        persistent: What gives the objects that the pickle leaves to its reader, if any.
    """

    def __init__(
        self,
        stream: BytesIO,
        calls: Mapping[str, Call],
        names: Collection[str],
        persistent: Call | None = None,
    ) -> None:
        self._stream = stream
        self._calls = calls
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object of the pickle, in which some are still :class:`Pending`."""
        # not kept in self: they refer to it, and the cycle would hold the file's arrays for long
        steps = {**self._steps_of_values(), **self._steps_of_containers()}
        for opcode, argument, _ in pickletools.genops(self._stream):
            step = steps.get(opcode.name)
            if step is None:
                raise RefusedError(f"its pickle does more than hold data (opcode {opcode.name})")
            step(argument)
        return self._pop()

    def _steps_of_values(self) -> dict[str, Step]:
        return {
            **dict.fromkeys(_CONSTANTS.split(), self._push),
            **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
            "NONE": lambda _: self._push(None),
            "NEWTRUE": lambda _: self._push(True),
            "NEWFALSE": lambda _: self._push(False),
            "PUT": self._put,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "GET": self._get,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "GLOBAL": self._global,
            "STACK_GLOBAL": self._stack_global,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "BINPERSID": self._persistent_id,
        }

    def _steps_of_containers(self) -> dict[str, Step]:
        return {
            "MARK": self._mark,
            "POP": lambda _: self._drop(),
            "POP_MARK": lambda _: self._drop_to_mark(),
            "EMPTY_TUPLE": lambda _: self._push(()),
            "TUPLE": lambda _: self._push(tuple(self._pop_mark())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "EMPTY_LIST": lambda _: self._push([]),
            "LIST": lambda _: self._push(self._pop_mark()),
            "APPEND": lambda _: self._append([self._pop()]),
            "APPENDS": lambda _: self._append(self._pop_mark()),
            "EMPTY_DICT": lambda _: self._push({}),
            "DICT": lambda _: self._dict(self._pop_mark()),
            "SETITEM": lambda _: self._set_items([self._pop(), self._pop()][::-1]),
            "SETITEMS": lambda _: self._set_items(self._pop_mark()),
        }

    def _drop(self) -> None:
        self._pop()

    def _drop_to_mark(self) -> None:
        self._pop_mark()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise RefusedError("its pickle is damaged (nothing to take from the stack)")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        value = self._pop()
        self._push(value)
        if not isinstance(value, kind):
            raise RefusedError(f"its pickle is damaged ({type(value).__name__} in a wrong place)")
        return value

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise RefusedError("its pickle is damaged (no mark)")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self, size: int) -> None:
        self._push(tuple([self._pop() for _ in range(size)][::-1]))

    def _append(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise RefusedError("its pickle is damaged (a key without a value)")
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_hashable(key)] = value

    def _dict(self, items: list[Any]) -> None:
        self._push({})
        self._set_items(items)

    def _put(self, index: int) -> None:
        self._memo[index] = self._top(object)

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise RefusedError("its pickle is damaged (an object that it never made)")
        self._push(self._memo[index])

    def _global(self, name: str) -> None:
        if name not in self._calls and name not in self._names:
            raise RefusedError(
                f"its pickle asks for {shown(name.replace(' ', '.'))}, "
                "which is no part of plain data; it was not run"
            )
        self._push(GlobalName(name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusedError("its pickle is damaged (a name that is no string)")
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, GlobalName) or function.name not in self._calls:
            raise RefusedError(f"its pickle calls what is no part of data ({_named(function)})")
        if not is_tuple(arguments):
            raise RefusedError("its pickle is damaged (a call without a tuple)")
        self._push(self._calls[function.name](*arguments))

    def _build(self, _: Any) -> None:
        state = self._pop()
        self._top(Pending).fill(state)

    def _persistent_id(self, _: Any) -> None:
        if self._persistent is None:
            raise RefusedError("its pickle refers to objects that are not in it")
        self._push(self._persistent(self._pop()))


def _hashable(key: Any) -> str | int:
    if isinstance(key, str) or (isinstance(key, int) and -(2**63) <= key < 2**63):
        return key
    raise RefusedError(f"it has a dictionary key that is no string and no integer ({_named(key)})")


def _named(value: Any) -> str:
    if isinstance(value, GlobalName):
        return shown(value.name)
    return type(value).__name__


def _nothing(_: Any) -> None:
    pass
