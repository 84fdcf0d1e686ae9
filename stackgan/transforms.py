"""What happens to a crop on its way into training, by name.

none        the middle of the crop
crop-flip   a random part (64² of 76², 256² of 304²), mirrored half of the time: StackGAN's own
mild        the same, with slight changes of brightness, contrast, saturation and hue
strong      a part of 40-100% of the area, distorted by up to 4:3, mirrored half of the time, with colours changed so
            much that a caption may no longer hold
"""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network at import

import albumentations as A
import cv2

cv2.setNumThreads(1)  # loading processes, or torch's own threads, have every core already

Pixels = NDArray[np.uint8]

_STEPS: Mapping[str, Callable[[int], list[Any]]] = {
    "none": lambda size: [A.CenterCrop(size, size)],
    "crop-flip": lambda size: [A.RandomCrop(size, size), A.HorizontalFlip(p=0.5)],
    "mild": lambda size: [
        A.RandomCrop(size, size),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02, p=1),
    ],
    "strong": lambda size: [
        A.RandomResizedCrop((size, size), scale=(0.4, 1), interpolation=cv2.INTER_CUBIC, area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=1),
    ],
}
NAMES = tuple(_STEPS)


class Transform:
    """A transform by name, for crops of at least `size` × `size` pixels."""

    def __init__(self, name: str, size: int) -> None:
        # The shapes are ours and right; the check of every call costs as much as the crop itself.
        self._compose = A.Compose(_STEPS[name](size), is_check_shapes=False)

    def __call__(self, image: Pixels, rng: random.Random) -> Pixels:
        """uint8 [H, W, 3] → uint8 [size, size, 3]; all chance is drawn from `rng`.

        albumentations' own generators are alike in every loader process (2.0.8), hence one from outside.
        """
        self._compose.set_random_state(np.random.default_rng(rng.getrandbits(64)), rng)
        changed: Pixels = self._compose(image=image)["image"]
        return changed
