"""Pickles from the internet, read as data: nothing in them is called, and NumPy's own reading of arrays is not trusted.

A crafted array or dtype makes NumPy read and write memory that is not its own, so both have stand-ins here.
"""

import io
import math
import pickle
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipeline.archives import AGAIN
from stackgan.errors import UserError


def load_pickle(content: bytes, name: str) -> Any:
    """Unpickle what Python 2 or 3 wrote, if it holds nothing but lists, tuples, numbers, strings and arrays of numbers.

    Byte strings become latin-1 text. Anything else, above all a call of any function, is a `UserError` that starts with
    `name`; so is a pickle whose line endings were converted, as a text-mode transfer does. What comes takes no more
    memory than its pickle, but may be of any type, length and depth.
    """
    if (lines := content.count(b"\n")) and lines == content.count(b"\r\n"):
        raise UserError(f"{name}: its line endings were converted to CRLF: fetch the archive again, as binary")
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _ForbiddenError as error:
        raise UserError(f"{name}: this pickle asks for {error}, not for data: do not trust it") from error
    except Exception as error:  # a damaged pickle can raise anything that NumPy and the unpickler can
        raise UserError(f"{name}: not a readable pickle ({type(error).__name__}: {error}); {AGAIN}") from error


class _ForbiddenError(Exception):
    pass


def _encode(text: str, _codec: str = "latin1") -> bytes:
    """Python 3 writes bytes in old protocols as `_codecs.encode(text, "latin1")`; no other codec is let in."""
    return text.encode("latin1")


class _Kind:
    """Stands for `numpy.dtype`, whose own state can make NumPy read memory that is not its own."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[biuf]\d\d?", code):
            raise ValueError(f"an array of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose state is checked: NumPy trusts the shape that a pickle gives."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, fortran, content = state[-4:]
        raw = content.encode("latin1") if isinstance(content, str) else content
        if not isinstance(raw, bytes | bytearray) or not shape or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError("an array without bytes or shape")
        if 0 in shape[1:] or math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes for shape {shape}")
        super().__setstate__((1, shape, kind.dtype, fortran, bytes(raw)))


def _empty(*_: object) -> _Array:
    return np.ndarray.__new__(_Array, (0,))


def _scalar(kind: _Kind, content: bytes | str) -> Any:
    return _buffer(content, kind, (1,))[0]


def _buffer(content: Any, kind: _Kind, shape: tuple[int, ...], order: str = "C") -> _Array:
    array = _empty()
    array.__setstate__((shape, kind, order == "F", content))
    return array


# NumPy's constructors and what stands in for them. Their module is numpy.core in what NumPy 1 wrote, else numpy._core.
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): object,  # an argument of _reconstruct, never called
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _buffer for core in ("core", "_core")},
}


def _refuse(_unpickler: Any) -> None:
    raise ValueError("it holds a mapping or a set")


class _PlainUnpickler(pickle._Unpickler):  # the one in Python: in C, a number in the pickle reserves memory at will
    # No keys and no sets: the hash of tuples in tuples can take for ever.
    _KEYED = (pickle.DICT, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.EMPTY_SET, pickle.FROZENSET)
    dispatch: ClassVar = {**pickle._Unpickler.dispatch, **{code[0]: _refuse for code in _KEYED}}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None
