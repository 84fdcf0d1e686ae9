"""How many cores this process may use."""

import os


def cores() -> int:
    """Those that a container, a scheduler or taskset left it, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
