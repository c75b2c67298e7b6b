"""Look into a pickle without unpickling it.

A pickle is a program: naming a class imports it, and REDUCE calls whatever it is given. Here the program is only
read: names become :class:`Name`, calls become :class:`Call`, persistent ids become :class:`Stored`, and the rest is
plain lists, tuples, dicts, numbers and strings. Nothing is imported, looked up, constructed or called, so there is
nothing to escape from.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

__all__ = ["Call", "Name", "PickleError", "Stored", "read_pickle"]

_MOST_STEPS = 2_000_000  # seconds; a checkpoint needs some thousands


class PickleError(ValueError):
    """The bytes are no pickle, or one that goes on and on."""


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that the pickle names: never looked up."""

    module: Any  # a string, unless the file is up to something
    name: Any


@dataclass(frozen=True, eq=False)
class Call:
    """An object the pickle wanted made: never made. What it would be filled with afterwards is dropped."""

    function: Any
    arguments: Any


@dataclass(frozen=True, eq=False)
class Stored:
    """A persistent id: a reference to data kept outside the pickle."""

    key: Any


_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_FRESH = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_MARK = object()


def read_pickle(file: BinaryIO, seen: Callable[[Stored], None] = lambda stored: None) -> Any:
    """What the pickle at the file's position describes; leaves the file behind its STOP.

    ``seen`` is told of every persistent id. Raises PickleError.
    """
    try:
        return _Reader(seen).read(file)
    except PickleError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, MemoryError) as error:
        raise PickleError("not a readable pickle") from error


class _Reader:
    """The pickle machine's stack and memo, with every step that would act replaced by one that takes a note."""

    def __init__(self, seen: Callable[[Stored], None]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.seen = seen

    def read(self, file: BinaryIO) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if step > _MOST_STEPS:
                raise PickleError("the pickle has too many steps")
            if opcode.name == "STOP":
                return self.stack[-1]
            self.step(opcode.name, argument)
        raise PickleError("the pickle has no end")

    def items(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        above = []
        while (item := self.stack.pop()) is not _MARK:
            above.append(item)
        return above[::-1]

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case _ if name in _VALUES:
                stack.append(argument)
            case _ if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case _ if name in _FRESH:
                stack.append(_FRESH[name]())
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.items()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "TUPLE":
                stack.append(tuple(self.items()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST" | "FROZENSET":
                stack.append(self.items())
            case "DICT":
                self.fill({}, self.items())
            case "APPEND":
                item = stack.pop()
                self.extend([item])
            case "APPENDS" | "ADDITEMS":
                self.extend(self.items())
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.fill(stack.pop(), [key, value])
            case "SETITEMS":
                pairs = self.items()
                self.fill(stack.pop(), pairs)
            case "GLOBAL":
                stack.append(Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(Name(module, attribute))
            case "INST":
                stack.append(Call(Name(*argument.split(" ", 1)), tuple(self.items())))
            case "OBJ":
                function, *arguments = self.items()
                stack.append(Call(function, tuple(arguments)))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_note(stack.pop(), arguments))
            case "NEWOBJ_EX":
                stack.pop()
                arguments = stack.pop()
                stack.append(Call(stack.pop(), arguments))
            case "BUILD":
                stack.pop()  # the state that __setstate__ would have been given
            case "BINPERSID":
                stack.append(Stored(stack.pop()))
                self.seen(stack[-1])
            case "PERSID":
                stack.append(Stored(argument))
                self.seen(stack[-1])
            case "EXT1" | "EXT2" | "EXT4":
                stack.append(Name("copyreg", f"extension {argument}"))
            case _:
                raise PickleError(f"{name} does not occur in checkpoints")

    def extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def fill(self, target: Any, pairs: list[Any]) -> None:
        # Only string keys are kept: nothing we look for has others, and hashing a tuple that shares its parts with
        # itself, forty levels deep, would take for ever.
        if isinstance(target, dict):
            target.update({k: v for k, v in zip(pairs[::2], pairs[1::2], strict=True) if isinstance(k, str)})
        self.stack.append(target)


def _note(function: Any, arguments: Any) -> Any:
    """A state dict is an OrderedDict, made empty and filled afterwards: that one call is answered, by a plain dict."""
    ordered = isinstance(function, Name) and (function.module, function.name) == ("collections", "OrderedDict")
    return {} if ordered and arguments == () else Call(function, arguments)
