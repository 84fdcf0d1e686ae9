"""How the C library hands out memory, which is where torch gets a CPU's tensors from."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensors, however large; without glibc nothing is done.

    By default it returns blocks of more than 32 MiB at once, and the end of its heap now and then, and the kernel then
    clears the next tensor's pages one by one: at 256 pixels a third of a training step in float32.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _MOST)
        mallopt(_MMAP_THRESHOLD, _MOST)
