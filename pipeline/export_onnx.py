"""Command `export-onnx`: write the generators for runtimes without PyTorch; see `stackgan.onnx_export`.

Reads   a shipped model, by default models/<preset>/stackgan
Writes  stage1.onnx and stage2.onnx into a folder, each after ONNX Runtime has drawn the same picture by it
"""

from pathlib import Path

from pipeline import console
from pipeline.files import atomic_file, require_writable, require_writable_file
from pipeline.shipped_model import model_folder
from stackgan import onnx_export
from stackgan.model import STAGES, StackGAN


def run(output: Path, folder: Path | None = None) -> None:
    onnx_export.require_packages()
    require_writable(output)
    paths = {stage: output / f"stage{stage}.onnx" for stage in STAGES}
    for path in paths.values():
        require_writable_file(path)
    model = StackGAN.from_pretrained(model_folder(folder), "cpu")
    for stage, path in paths.items():
        with atomic_file(path) as temporary:
            difference = onnx_export.export(model, stage, temporary)
        console.info(f"wrote {path}; it differs from PyTorch by {difference:.0e} at most")
