"""How a training is launched: in how many processes, on which devices of which machines, in which precision.

Apart from `pipeline.devices`, since importing Fabric takes seconds that stages of one process need not wait for.
"""

import inspect
import os
import warnings
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from pipeline.cores import cores
from pipeline.devices import computes_in_bfloat16, takes_cuda
from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import RuntimeConfig

LOADERS = 4  # processes that load pictures for one GPU, where there are cores for them


def fabric(runtime: "RuntimeConfig") -> Fabric:
    """A launched `Fabric` of `runtime.nodes` × `runtime.devices` processes, or of those that torchrun or srun started.

    Without a launcher the first process of each node starts the node's others itself.
    """
    cuda = takes_cuda(runtime)
    launched = _launched()
    devices, nodes = launched or _wanted(runtime)
    if cuda and torch.cuda.device_count() < devices:
        raise UserError(
            f"runtime: {devices} GPUs are wanted and {torch.cuda.device_count()} are there:"
            " set runtime.device=cpu or start fewer processes (runtime.devices)"
        )
    bfloat16 = computes_in_bfloat16(cuda) if runtime.precision == "auto" else runtime.precision == "bfloat16"
    result = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=_ddp() if devices * nodes > 1 else "auto",
        # Left to itself, Fabric takes any process of a SLURM job for one of srun's tasks.
        plugins=None if launched else LightningEnvironment(),
        precision="bf16-mixed" if bfloat16 else "32-true",
    )
    result.launch()
    # All batches have one shape, so that trying the convolutions' algorithms once pays.
    torch.backends.cudnn.benchmark = True
    return result


def loading_processes(runtime: "RuntimeConfig", machine: Fabric) -> int:
    """Processes that load pictures for one device. A CPU that trains has no core to spare for any; a GPU needs few,
    since pictures stay decoded in memory, but it must not wait for them."""
    if runtime.workers != "auto":
        return runtime.workers
    # srun binds each task to cores of its own; the processes of any other launcher share all that the node has.
    sharing = 1 if _by_srun() else (_launched() or _wanted(runtime))[0]
    spare = cores() // sharing - 1
    return max(0, min(LOADERS, spare)) if machine.device.type == "cuda" else 0


def _ddp() -> DDPStrategy:
    # D runs twice before one backward pass, which a broadcast of its buffers in between would spoil. torch is about to
    # rename the option.
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    options: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False
    }
    # Fabric's all_gather still calls what torch is renaming: nothing that whoever trains could mend.
    warnings.filterwarnings("ignore", r"torch\.distributed\.nn\.functional\.all_gather is deprecated")
    return DDPStrategy(**options)


def _launched() -> tuple[int, int] | None:
    """Processes on each node, and nodes, if torchrun or srun started more than one process; then they have decided."""
    environment = os.environ
    if TorchElasticEnvironment.detect():
        devices = int(environment["LOCAL_WORLD_SIZE"])
        return devices, int(environment["WORLD_SIZE"]) // devices
    if _by_srun():
        if "SLURM_NTASKS_PER_NODE" not in environment:
            raise UserError("srun must be told --ntasks-per-node, the number of devices of a node, instead of --ntasks")
        return int(environment["SLURM_NTASKS_PER_NODE"]), int(environment.get("SLURM_NNODES", 1))
    return None


def _by_srun() -> bool:
    """Whether this is one of several processes that srun started, and no torchrun. The variables of a job's tasks are
    there in its batch script too, but for that of the step."""
    started = SLURMEnvironment.detect() and "SLURM_STEP_ID" in os.environ
    return started and int(os.environ["SLURM_NTASKS"]) > 1 and not TorchElasticEnvironment.detect()


def _wanted(runtime: "RuntimeConfig") -> tuple[int, int]:
    if runtime.nodes > 1 and not {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK"} <= os.environ.keys():
        raise UserError(
            f"runtime: {runtime.nodes} nodes are wanted: start the stage on each by torchrun or srun,"
            " or with MASTER_ADDR, MASTER_PORT and NODE_RANK set (docs/scaling.md)"
        )
    return runtime.devices, runtime.nodes
