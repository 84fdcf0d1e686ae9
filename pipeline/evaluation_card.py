"""The results of `evaluate` in words and tables: for the terminal, and as the card of the shipped model."""

from pipeline.evaluation_exam import Exam
from pipeline.evaluation_scores import Scores
from stackgan.model import STAGES, StackGAN

# Figure, what it says, its form, and its value for real pictures where that is so by definition.
FIGURES: tuple[tuple[str, str, str, float | None], ...] = (
    ("fid", "FID (judge's features), lower is better", "{:.1f}", None),
    ("kid", "KID (judge's features), lower is better", "{:.3f}", None),
    ("precision", "precision: drawn birds that look real", "{:.0%}", None),
    ("recall", "recall: real birds that it could draw", "{:.0%}", None),
    ("density", "density", "{:.2f}", None),
    ("coverage", "coverage", "{:.0%}", None),
    ("species_top1", "species recognised", "{:.1%}", None),
    ("species_top5", "species among the first five", "{:.1%}", None),
    ("colours", "colours drawn as the caption says", "{:.1%}", None),
    ("diversity", "diversity of one caption's birds", "{:.2f}", 1.0),
    ("collapse", "collapse: near-duplicates", "{:.1%}", None),
    ("memorisation", "memorisation, 0 = copies", "{:.2f}", 1.0),
    ("fid_inception", "FID (Inception)", "{:.2f}", None),
    ("is_inception", "Inception score", "{:.2f}", None),
)
HEADINGS = ("", "Stage I", "real 64", "Stage II", "real 256", "untrained", "chance")


def table(results: Scores) -> list[list[str]]:
    """Rows of text under `HEADINGS`: test captions, real pictures of either size, an untrained Stage II, guessing."""
    rows = []
    for figure, label, form, by_definition in FIGURES:
        values: list[float | None] = []
        for stage in STAGES:
            real = results["real"][f"stage{stage}"]
            reference = _value(real, figure) if figure in real else _value(real["halves"], figure)
            values += [_value(results[f"stage{stage}"]["test"], figure), by_definition or reference]
        values += [_value(results["stage2"]["untrained"], figure), _value(results["chance"], figure)]
        if values[0] is not None:
            rows.append([label, *("" if value is None else form.format(value) for value in values)])
    return rows


def lines(results: Scores) -> list[str]:
    """The table for the terminal, and what to know to read it."""
    rows = [list(HEADINGS), *table(results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    text = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [*text, f"The judge is {results['judge']['verdict']}"]


def model_card(preset: str, model: StackGAN, exam: Exam, results: Scores) -> str:
    """README.md of the shipped model."""
    species = {split.name: len({each["species_id"] for each in split.pictures}) for split in (exam.train, exam.test)}
    shared = {each["species_id"] for each in exam.train.pictures} & {each["species_id"] for each in exam.test.pictures}
    unseen = "seen in training, in other pictures" if shared else "none of which it saw in training"
    protocol = results["protocol"]
    sizes = [sum(p.numel() for p in model.generators[stage].parameters()) / 1e6 for stage in STAGES]
    grid = "\n".join(
        "| " + " | ".join(row) + " |" for row in [list(HEADINGS), ["---"] * len(HEADINGS), *table(results)]
    )
    return f"""# StackGAN, preset `{preset}`

Draws birds from sentences: 64×64 pixels by Stage I, 256×256 by Stage II.

```python
from stackgan import StackGAN

model = StackGAN.from_pretrained("models/{preset}/stackgan")
model.generate(["{exam.test.pictures[0]["captions"][0]}"], seed=0)[0].save("bird.png")
```

## Data

Trained on {len(exam.train)} pictures of {species["train"]} species and their captions; tested on {len(exam.test)}
pictures of {species["test"]} species, {unseen}.
{_licence(exam)}

## Networks

Captions become {model.text_encoder.dim} numbers (`text_encoder/`). The generators have {sizes[0]:.1f} million weights
(Stage I) and {sizes[1]:.1f} million (Stage II, with Stage I inside); `config.json` holds every size. The weights are
averages over training, where `ema` is not 0.

## Measured

{protocol["test_captions"]} captions of {protocol["test_pictures"]} test pictures, noise from seed {protocol["seed"]},
no truncation. "real" compares one half of the real test pictures with the other: half as many, which makes its FID a
little too high; "untrained" is Stage II before training; "chance" is blind guessing. FID and KID use a judge trained on
these birds: compare them with each other, not with published figures. The judge is {results["judge"]["verdict"]}.

{grid}

## Limits

- It knows only what its captions told of {species["train"]} species: other animals, scenes, counts and actions mean
  nothing to it, and words that it never read are noise.
- Colours are drawn more reliably than shapes; bills, legs and eyes are the first things to go wrong.
- Pictures are inventions: they show no species reliably, and are no evidence of anything.
"""


def _licence(exam: Exam) -> str:
    if any("truth" in picture for picture in exam.train.pictures):
        return "All pictures are drawn by the pipeline itself."
    return "The pictures are subject to their owners' rights; those of CUB-200-2011 are for research and teaching only."


def _value(scores: Scores, figure: str) -> float | None:
    value = scores.get(figure)
    return value["mean"] if isinstance(value, dict) else value
