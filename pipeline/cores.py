"""How many cores this process may use."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of each period, both in one line; or the word max


def cores() -> int:
    """Those that a scheduler or taskset left it and a container's quota pays for: fewer, perhaps, than there are."""
    # macOS has no affinity.
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (int(number) for number in _QUOTA.read_text().split())
    except (OSError, ValueError):
        return here
    return max(1, min(here, math.ceil(quota / period)))
