import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

GLIBC = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})

# Pages that a block of 64 MiB takes anew, when others of its size have just been freed.
PAGES = """
import resource, sys
import torch
from pipeline import cli

faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
if sys.argv[1:]:
    try:
        cli.main()
    except SystemExit:
        pass
for _ in range(8):  # until what is kept has room for the block and what stands around it
    before = faults()
    torch.ones(1 << 24)
print(faults() - before)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc's allocator can be told")
def test_every_command_keeps_the_memory_of_large_blocks() -> None:
    assert _pages() >= 10_000
    assert _pages("--help") < 100


def _pages(*arguments: str) -> int:
    command = [sys.executable, "-c", PAGES, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])
