"""Work on a GPU that is recorded once and then started whole."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls by which every buffer is allocated and every algorithm chosen


class Recorded:
    """Calls `function` with tensors of ever the same shapes; from the fourth call on as one CUDA graph.

    A training step is thousands of small kernels, which a CPU starts more slowly than a GPU computes them: recorded,
    they start as one. So `function` must neither wait for the device nor let numbers of Python change from call to
    call, and what it keeps between calls it must change in place: a recording knows addresses, not names. What it draws
    at random hangs on the seed of each call.
    """

    def __init__(self, function: Callable[..., None], device: torch.device) -> None:
        self._function, self._device = function, device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> None:
        if not self._inputs:
            self._inputs = tuple(torch.empty_like(tensor, device=self._device) for tensor in inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self._calls += 1
        if self._calls <= WARM_UP:
            self._warm_up()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            # A stream of its own, since the end of one graph frees what cuBLAS needs for all that share its stream;
            # thread-local, since threads that load pictures may allocate page-locked memory meanwhile.
            stream = torch.cuda.Stream(self._device)
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._function(*self._inputs)
        self._graph.replay()

    def _warm_up(self) -> None:
        """A call on a stream of its own, as recording demands of the calls before it."""
        ours, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(ours)
        with torch.cuda.stream(side):
            self._function(*self._inputs)
        ours.wait_stream(side)
