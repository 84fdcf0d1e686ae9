"""What the ways to train a char-CNN-RNN have in common."""

from stackgan.cycle import CycleTraining


class TextTraining(CycleTraining):
    """Gradients are clipped: those of a recurrent layer burst at times."""

    what = "text_encoder"
    warm_up = 0.05
    betas = (0.9, 0.98)
    clip = 1.0
