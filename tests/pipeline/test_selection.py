from collections import Counter

import pytest

from pipeline.manifest import Picture
from pipeline.selection import SpeciesChoice, choose_species, require_pictures, split_pictures
from stackgan.errors import UserError

KNOWN = {
    1: "001.Black_footed_Albatross",
    2: "002.Laysan_Albatross",
    9: "009.Brewer_Blackbird",
    31: "031.Black_billed_Cuckoo",
    33: "033.Yellow_billed_Cuckoo",
}


def picture(species: int, number: int, split: str = "train") -> Picture:
    return Picture(
        number, f"{KNOWN[species]}/{number:04d}.jpg", species, KNOWN[species], split, (0, 0, 9, 9), ("a bird",)
    )


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (1, [1]),
        (3, [1, 2, 9]),
        ("all", [1, 2, 9, 31, 33]),
        ([31, 2], [2, 31]),
        (["*Cuckoo"], [31, 33]),
        (["*albatross", 9, "LAYSAN ALBATROSS"], [1, 2, 9]),
        (["001.Black_footed_Albatross", "black footed albatross", "Black_footed_Albatross", "001*"], [1]),
        (["Black*"], [1, 31]),
    ],
)
def test_species_are_chosen_by_count_number_name_or_glob(choice: SpeciesChoice, chosen: list[int]) -> None:
    assert choose_species(choice, KNOWN) == chosen


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (6, "the archives know 5 species"),
        ([3], "there is no number 3"),
        ([], "chooses nothing"),
        (["Laysan Albatros"], "did you mean Laysan_Albatross"),
        (["*cuckoos"], "did you mean Black_billed_Cuckoo or Yellow_billed_Cuckoo?"),
        (["zzz"], "'zzz' is unknown$"),
    ],
)
def test_a_choice_that_cannot_be_met_names_the_nearest(choice: SpeciesChoice, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        choose_species(choice, KNOWN)


def test_species_without_pictures_are_listed() -> None:
    with pytest.raises(UserError, match=r"no pictures of 3 of the 4 chosen species, numbers 1-2, 31 \(001.Black"):
        require_pictures([1, 2, 9, 31], KNOWN, [picture(9, 1)])
    require_pictures([9], KNOWN, [picture(9, 1)])


def test_by_image_takes_a_quarter_of_each_species_whatever_the_others_are() -> None:
    albatrosses = [picture(1, number) for number in range(60)]
    cuckoos = [picture(31, number) for number in range(7)]
    both = split_pictures([*albatrosses, *cuckoos], "all", "by-image", 0)
    assert Counter((p.species_id, p.split) for p in both) == {
        (1, "train"): 45,
        (1, "test"): 15,
        (31, "train"): 6,
        (31, "test"): 1,
    }
    assert [p.name for p in both] == [p.name for p in [*albatrosses, *cuckoos]]
    assert split_pictures(cuckoos[::-1], "all", "by-image", 0)[::-1] == both[60:]
    assert split_pictures(albatrosses, 1, "by-image", 1) != both[:60]


def test_a_lone_picture_trains() -> None:
    divided = split_pictures([picture(1, 1), picture(2, 1), picture(2, 2)], "all", "by-image", 0)
    assert Counter(p.split for p in divided if p.species_id == 1) == {"train": 1}
    assert Counter(p.split for p in divided if p.species_id == 2) == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("choice", "command"),
    [
        (1, "`dvc exp run -S species=1 -S split=by-image`"),
        (["*Albatross", 3], """`dvc exp run -S 'species=["*Albatross", 3]' -S split=by-image`"""),
    ],
)
def test_an_empty_side_names_the_command_that_has_both(choice: SpeciesChoice, command: str) -> None:
    with pytest.raises(UserError) as error:
        split_pictures([picture(1, 1, "test")], choice, "zero-shot", 0)
    assert "no train pictures" in str(error.value)
    assert command in str(error.value)
    with pytest.raises(UserError, match="no test pictures: each of these species has a single picture"):
        split_pictures([picture(1, 1)], 1, "by-image", 0)
