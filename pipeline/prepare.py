"""Stage `prepare`: choose species, split, check every picture, and say what the data set is.

Reads   data/<preset>/raw/ (both archives)
Writes  data/<preset>/manifest.jsonl, reports/<preset>/dataset.json (a DVC metric), reports/<preset>/contact_sheet.png
Params  species, split, seed, source

Pictures that cannot be read, that have no caption or whose box lies outside the frame are left out and recorded in the
report; more than one, and than one in a hundred, is an error. Boxes that leave the frame are clipped to it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from PIL import Image

from pipeline import console, cub, manifest, pictures
from pipeline.archives import Tar, open_tar
from pipeline.crops import Cutter, Source, chunked, clip_box, cut_crops, orientation, sources
from pipeline.evaluate_config import LEAST_PICTURES
from pipeline.files import write_json
from pipeline.manifest import Picture
from pipeline.paths import Paths
from pipeline.selection import choose_species, common_name, require_pictures, split_pictures
from pipeline.workers import parallel
from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Params

Item = TypeVar("Item")

MAX_DROPPED = 0.01
_FREQUENT_WORDS = 50
_SHEET_ROWS, _SHEET_COLUMNS, _SHEET_TILE = 14, 7, 128
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


class Problem(NamedTuple):
    """Something wrong with a picture and what was done about it."""

    picture: str
    problem: str
    action: str  # "dropped" | "clipped" | "converted" | "ignored"


@dataclass(frozen=True)
class Checked:
    """A picture after its check; `picture` is None where it had to be dropped, `size` where it cannot be decoded."""

    picture: Picture | None
    size: tuple[int, int] | None
    problems: list[Problem]


def run(params: "Params") -> None:
    """Run the stage; see the module's docstring."""
    paths = Paths(params.preset)
    with open_tar(paths.raw / params.source.images.name) as images:
        dataset = cub.read(images, paths.raw / params.source.captions.name)
        chosen = choose_species(params.species, dataset.species)
        require_pictures(chosen, dataset.species, dataset.pictures)
        candidates = [picture for picture in dataset.pictures if picture.species_id in set(chosen)]
        # Split first: whether another picture is broken must not move this one to the other side.
        checked = check(images, split_pictures(candidates, params.species, params.split, params.seed))
        good = [each.picture for each in checked if each.picture is not None]
        report = describe(good, checked)
        sheet = contact_sheet(images, good, f"{params.preset}: {_summary(report)}")
    manifest.write(paths.manifest, good)
    write_json(paths.dataset_report, report)
    pictures.save_png(sheet, paths.contact_sheet)
    console.info(f"{_summary(report)}; {report['dropped']} dropped")
    _warn_of_too_few(report, largest_batch=max(params.stage1.batch_size, params.stage2.batch_size))


def _warn_of_too_few(report: dict[str, Any], largest_batch: int) -> None:
    """What later stages will refuse, said before the text encoder is trained."""
    if min(report[split] for split in cub.SPLITS) < LEAST_PICTURES:
        console.warn(
            f"`evaluate` wants {LEAST_PICTURES} pictures of each split at least, and will end the run without figures:"
            " take more pictures or species"
        )
    if report["train"] < largest_batch:
        console.warn(
            f"{report['train']} training pictures fill no batch of {largest_batch}: lower stage1.batch_size and"
            " stage2.batch_size in the preset"
        )


def check(images: Tar, candidates: Sequence[Picture]) -> list[Checked]:
    """Decode every picture, in parallel. More than 1% of dropped ones, and more than one, is a `UserError`."""
    parts = parallel(_check_all, chunked(sources(images, candidates)))
    each_one = (each for part in parts for each in part)
    checked = list(console.track(each_one, "check pictures", total=len(candidates)))
    dropped = [problem for each in checked for problem in each.problems if problem.action == "dropped"]
    if len(dropped) > max(1, MAX_DROPPED * len(candidates)):
        raise UserError(
            f"{images.path}: {len(dropped)} of {len(candidates)} pictures are unusable, the first is "
            f"{dropped[0].picture} ({dropped[0].problem}): fetch the archives again"
        )
    return checked


def _check_all(jobs: Sequence[Source]) -> list[Checked]:
    return [_check(job) for job in jobs]


def _check(source: Source) -> Checked:
    picture = source.picture
    try:
        image = source.read()
    except UserError as error:
        return _dropped(picture, None, str(error).removeprefix(f"{picture.name}: "))
    if not picture.captions:
        return _dropped(picture, image.size, "no captions")
    box = clip_box(picture.bbox, *image.size)
    if box is None:
        return _dropped(picture, image.size, f"box {picture.bbox} lies outside the frame of {image.size}")
    problems = []
    if box != picture.bbox:
        problems.append(Problem(picture.name, f"box {picture.bbox} leaves the frame of {image.size}", "clipped"))
    if image.mode != "RGB":
        problems.append(Problem(picture.name, f"{image.mode} instead of RGB", "converted"))
    if (turned := orientation(image)) > 1:
        problems.append(Problem(picture.name, f"EXIF orientation {turned}; boxes know none", "ignored"))
    return Checked(replace(picture, bbox=box), image.size, problems)


def _dropped(picture: Picture, size: tuple[int, int] | None, problem: str) -> Checked:
    return Checked(None, size, [Problem(picture.name, problem, "dropped")])


def describe(good: Sequence[Picture], checked: Sequence[Checked]) -> dict[str, Any]:
    """The report: figures first, then tables. Lists where DVC should not make a metric of every entry."""
    captions = [caption for picture in good for caption in picture.captions]
    words = Counter(word for caption in captions for word in _WORD.findall(caption.lower()))
    problems = [problem for each in checked for problem in each.problems]
    actions = Counter(problem.action for problem in problems)
    by_species = {split: Counter(p.species for p in good if p.split == split) for split in cub.SPLITS}
    widths, heights = zip(*(each.size for each in checked if each.size), strict=True)
    return {
        "pictures": len(good),
        **{split: by_species[split].total() for split in cub.SPLITS},
        "species": len({picture.species for picture in good}),
        **{f"{split}_species": len(by_species[split]) for split in cub.SPLITS},
        "captions": len(captions),
        "words": len(words),
        "words_per_caption": round(words.total() / len(captions), 2),
        "dropped": actions["dropped"],
        "boxes_clipped": actions["clipped"],
        "converted_to_rgb": actions["converted"],
        "captions_per_picture": {str(n): count for n, count in sorted(Counter(len(p.captions) for p in good).items())},
        "picture_width": _range(widths),
        "picture_height": _range(heights),
        "species_counts": [
            {"species": name, **{split: by_species[split][name] for split in cub.SPLITS}}
            for name in sorted({picture.species for picture in good})
        ],
        "frequent_words": [{"word": word, "count": count} for word, count in words.most_common(_FREQUENT_WORDS)],
        "problems": [problem._asdict() for problem in problems],
    }


def _range(values: Iterable[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {"min": ordered[0], "median": median(ordered), "max": ordered[-1]}


def _summary(report: dict[str, Any]) -> str:
    return f"{report['species']} species, {report['train']:,} train and {report['test']:,} test pictures"


def contact_sheet(images: Tar, good: Sequence[Picture], title: str) -> Image.Image:
    """A row of crops for each of up to 14 species, evenly chosen, with a caption of the row's first picture."""
    groups: dict[str, list[Picture]] = {}
    for picture in good:
        groups.setdefault(picture.species, []).append(picture)
    rows = [_evenly(groups[species], _SHEET_COLUMNS) for species in _evenly(sorted(groups), _SHEET_ROWS)]
    crops = iter(cut_crops(images, [p for row in rows for p in row], Cutter(_SHEET_TILE, "padded"), progress="sheet"))
    return pictures.sheet(
        [[next(crops) for _ in row] for row in rows],
        row_titles=[_row_title(row[0], groups[row[0].species]) for row in rows],
        title=title,
        tile=_SHEET_TILE,
    )


def _row_title(first: Picture, group: Sequence[Picture]) -> str:
    counts = Counter(picture.split for picture in group)
    split = " + ".join(f"{counts[split]} {split}" for split in cub.SPLITS if counts[split])
    return f"{common_name(first.species).replace('_', ' ')}, {split}: “{first.captions[0]}”"


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Up to `count` of the items, spread evenly from the first to the last."""
    count = min(count, len(items))
    return [items[round(index * (len(items) - 1) / max(count - 1, 1))] for index in range(count)]
