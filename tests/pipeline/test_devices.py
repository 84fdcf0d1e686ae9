import pytest

from pipeline import params
from pipeline.devices import _cpu_profits, fabric


@pytest.mark.parametrize(
    ("cpuinfo", "profits"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", True),
        ("vendor_id : AuthenticAMD\nflags : avx2", False),
    ],
    ids=["AMX", "AVX512-BF16 of Intel", "AVX512-BF16 of AMD", "none"],
)
def test_bfloat16_is_chosen_where_it_is_faster(cpuinfo: str, profits: bool) -> None:
    assert _cpu_profits(cpuinfo) == profits


@pytest.mark.parametrize(("precision", "expected"), [("float32", "32-true"), ("bfloat16", "bf16-mixed")])
def test_precision_and_device_are_those_asked_for(precision: str, expected: str) -> None:
    runtime = params.load(overrides=["runtime.device=cpu", f"runtime.precision={precision}"]).runtime
    machine = fabric(runtime)
    assert machine.device.type == "cpu"
    assert machine._precision.precision == expected
