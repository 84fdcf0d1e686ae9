import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.pickles import load_pickle
from stackgan.errors import UserError


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickles_of_plain_data_and_arrays_are_read(protocol: int) -> None:
    value = [("bird", (1.5, None)), np.int64(7), np.arange(6, dtype=np.float32).reshape(2, 3)]
    loaded: Any = load_pickle(pickle.dumps(value, protocol), "a.pickle")
    assert loaded[:2] == value[:2]
    np.testing.assert_array_equal(loaded[2], value[2])


def test_a_pickle_of_python_2_is_read() -> None:
    # pickle.dumps([numpy.int64(513), 'caf\xe9'], 2) of Python 2 with NumPy 1.
    content = (
        b"\x80\x02]q\x01(cnumpy.core.multiarray\nscalar\nq\x02cnumpy\ndtype\nq\x03U\x02i8q\x04K\x00K\x01\x87q\x05Rq\x06"
        b"(K\x03U\x01<q\x07NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x08bU\x08\x01\x02\x00\x00\x00\x00\x00\x00q\x09"
        b"\x86q\x0aRq\x0bU\x04caf\xe9q\x0ce."
    )
    assert load_pickle(content, "a.pickle") == [513, "café"]


class Hostile:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "owned"
    content = pickle.dumps([Hostile(os.mkdir, str(target))], protocol)
    with pytest.raises(UserError) as error:
        load_pickle(content, "birds.zip: filenames.pickle")
    assert str(error.value).startswith("birds.zip: filenames.pickle: this pickle asks for posix.mkdir")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(pickle.dumps(["a", "b"], 0).replace(b"\n", b"\r\n"), "CRLF", id="CRLF, text protocol"),
        pytest.param(pickle.dumps([np.int64(1)], 2).replace(b"\n", b"\r\n"), "CRLF", id="CRLF, binary protocol"),
        pytest.param(pickle.dumps(["a" * 50], 2)[:20], "not a readable pickle", id="truncated"),
        pytest.param(b"", "not a readable pickle", id="empty"),
        pytest.param(pickle.dumps(Hostile(eval, "1"), 0), "asks for", id="eval"),
        pytest.param(pickle.dumps(Hostile(getattr, "", "upper"), 0), "asks for", id="getattr"),
    ],
)
def test_a_damaged_pickle_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_pickle(content, "a.pickle")
    assert str(error.value).startswith("a.pickle: ")
