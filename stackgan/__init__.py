"""StackGAN as a library: pictures of birds from sentences, in two stages (64×64, then 256×256).

The shortest use, once a model is trained:

    from stackgan import StackGAN

    model = StackGAN.from_pretrained("models/sample/stackgan")
    pictures = model.generate(["a small bird with a red head and white belly"], seed=0)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stackgan.model import StackGAN

__all__ = ["StackGAN"]


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds, which `stackgan --help` must not pay.
    if name == "StackGAN":
        from stackgan.model import StackGAN

        return StackGAN
    raise AttributeError(f"module 'stackgan' has no attribute {name!r}")
