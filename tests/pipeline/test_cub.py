import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.cub import read_dataset
from pipeline.selection import choose_species, require_pictures, split_pictures
from stackgan.errors import UserError
from tests.pipeline.tiny import SOURCE, SPECIES, Tiny, tiny

ROOT = "CUB_200_2011"


@pytest.mark.parametrize("prefix", ["", "./"])
def test_pictures_come_sorted_with_all_that_is_known(tmp_path: Path, prefix: str) -> None:
    data = tiny(prefix=prefix)
    truth = {"name": "003.Black_Crow/Black_Crow_0002_2.jpg", "head": "black"}
    data.images[f"{prefix}{ROOT}/truth.jsonl"] = json.dumps(truth).encode()
    pictures = read_dataset(data.save(tmp_path), SOURCE)
    assert [picture.name for picture in pictures] == sorted(picture.name for picture in pictures)
    assert len(pictures) == 20
    crow = pictures[11]
    assert (crow.id, crow.species_id, crow.species, crow.split) == (12, 3, "003.Black_Crow", "train")
    assert crow.bbox == (10.0, 12.0, 50.0, 35.0)
    assert crow.captions == tuple(f"a black bird, seen 12 times, sentence {n}" for n in range(3))
    assert crow.truth == {"head": "black"}
    assert {picture.species for picture in pictures if picture.split == "test"} == {"002.Blue_Jay"}


def test_pictures_that_the_archive_lacks_are_left_out(tmp_path: Path) -> None:
    data = tiny()
    for name in [name for name in data.images if SPECIES[3] in name]:
        del data.images[name]
    del data.captions["birds/text_c10/001.Red_Cardinal/Red_Cardinal_0001_1.txt"]
    pictures = read_dataset(data.save(tmp_path), SOURCE)
    assert {picture.species for picture in pictures} == set(SPECIES[:3])
    assert pictures[0].captions == ()


def test_captions_lose_stray_spaces_and_unreadable_characters(tmp_path: Path) -> None:
    data = tiny()
    data.captions["birds/text_c10/001.Red_Cardinal/Red_Cardinal_0001_1.txt"] = (
        "a\ufffd\ufffdred  bird \r\n\n\xa0with wings".encode() + b" and \xff bill"
    )
    picture = read_dataset(data.save(tmp_path), SOURCE)[0]
    assert picture.captions == ("a red bird", "with wings and bill")


def relist(data: Tiny, split: str, change: Callable[[list[str]], list[str]]) -> None:
    file = f"birds/{split}/filenames.pickle"
    stems = change(pickle.loads(data.captions[file]))
    data.captions[file] = pickle.dumps(stems, protocol=0)
    numbers = [np.int64(int(stem[:3])) for stem in stems]
    data.captions[f"birds/{split}/class_info.pickle"] = pickle.dumps(numbers, protocol=2)


DAMAGES: dict[str, tuple[Callable[[Tiny], object], str]] = {
    "no table": (lambda data: data.images.pop(f"{ROOT}/bounding_boxes.txt"), "bounding_boxes.txt is missing"),
    "short line": (lambda data: data.edit("images.txt", "7 002.Blue_Jay/", "7 "), "images.txt gives picture 7"),
    "no number": (lambda data: data.edit("images.txt", "7 002", "x 002"), "images.txt, line 7"),
    "extra column": (lambda data: data.edit("classes.txt", "Jay", "Jay x"), "classes.txt, line 2"),
    "duplicate id": (
        lambda data: data.edit("images.txt", "7 002", "6 002"),
        "images.txt, line 7: number 6 is there twice",
    ),
    "duplicate name": (
        lambda data: data.edit("images.txt", "Red_Cardinal_0002_2.jpg", "Red_Cardinal_0001_1.jpg"),
        "images.txt lists 001.Red_Cardinal/Red_Cardinal_0001_1.jpg twice",
    ),
    "missing box": (
        lambda data: data.edit("bounding_boxes.txt", "20 8.0 12.0 50.0 36.0\n", ""),
        "no line for picture 20",
    ),
    "unknown picture": (
        lambda data: data.edit("bounding_boxes.txt", "20 8.0", "21 1 2 3 4\n20 8.0"),
        "bounding_boxes.txt names picture 21",
    ),
    "box of words": (lambda data: data.edit("bounding_boxes.txt", "\n2 10.0", "\n2 ten"), "picture 2: 'ten 12.0"),
    "endless box": (lambda data: data.edit("bounding_boxes.txt", "\n2 10.0", "\n2 nan"), "picture 2: a box of"),
    "flat box": (lambda data: data.edit("bounding_boxes.txt", "12.0 50.0", "12.0 0.0"), "picture 1: a box of 0.0"),
    "other species": (lambda data: data.edit("image_class_labels.txt", "\n2 1", "\n2 4"), "picture 2 species 4"),
    "no text": (lambda data: data.images.update({f"{ROOT}/classes.txt": b"\xff\xfe"}), "classes.txt is not text"),
    "bad truth": (lambda data: data.images.update({f"{ROOT}/truth.jsonl": b'{"head": "red"}'}), "truth.jsonl, line 1"),
    "no list": (lambda data: data.captions.pop("birds/train/filenames.pickle"), "train/filenames.pickle is missing"),
    "list of another kind": (
        lambda data: data.captions.update({"birds/train/filenames.pickle": pickle.dumps(3)}),
        "filenames.pickle holds a int",
    ),
    "lists of unlike length": (
        lambda data: data.captions.update({"birds/test/class_info.pickle": pickle.dumps([np.int64(2)])}),
        "has 5 entries, birds/test/class_info.pickle 1",
    ),
    "species that disagree": (
        lambda data: data.captions.update({"birds/test/class_info.pickle": pickle.dumps([np.int64(3)] * 5)}),
        "species 3, the images archive 2",
    ),
    "in neither list": (lambda data: relist(data, "train", lambda stems: stems[1:]), "is in neither filenames.pickle"),
    "in both lists": (
        lambda data: relist(data, "test", lambda stems: [*stems, "001.Red_Cardinal/Red_Cardinal_0001_1"]),
        "is listed twice",
    ),
    "CRLF": (
        lambda data: data.captions.update(
            {name: data.captions[name].replace(b"\n", b"\r\n") for name in ["birds/train/filenames.pickle"]}
        ),
        "filenames.pickle: its line endings were converted to CRLF",
    ),
    "hostile": (
        lambda data: data.captions.update({"birds/test/filenames.pickle": b"cposix\nsystem\n(S'true'\ntR."}),
        "filenames.pickle: this pickle asks for posix.system",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_disagrees_is_named(tmp_path: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    data = tiny()
    change(data)
    with pytest.raises(UserError) as error:
        read_dataset(data.save(tmp_path), SOURCE)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_species_in_both_lists_are_an_error(tmp_path: Path) -> None:
    data = tiny()
    first = "001.Red_Cardinal/Red_Cardinal_0001_1"
    relist(data, "train", lambda stems: [stem for stem in stems if stem != first])
    relist(data, "test", lambda stems: [*stems, first])
    with pytest.raises(UserError, match="species 1 has both train and test pictures"):
        read_dataset(data.save(tmp_path), SOURCE)


def test_a_picture_that_is_a_link_is_an_error_where_it_is_cut(tmp_path: Path) -> None:
    from pipeline.crops import load_crops

    data = tiny(1)
    folder = data.save(tmp_path)
    name = f"{ROOT}/images/001.Red_Cardinal/Red_Cardinal_0001_1.jpg"
    with tarfile.open(folder / SOURCE.images.name, "w:gz") as tar:
        for member, content in data.images.items():
            info = tarfile.TarInfo(member)
            if member == name:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                content = b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    pictures = read_dataset(folder, SOURCE)
    with pytest.raises(UserError, match=r"Red_Cardinal_0001_1\.jpg is a link or a device"):
        load_crops(folder / SOURCE.images.name, pictures, 16)


def test_the_real_archives_hold_what_is_known_of_them(archives: Path) -> None:
    from pipeline import cub
    from pipeline.archives import open_tar

    with open_tar(archives / "CUB_200_2011.tgz") as images:
        dataset = cub.read(images, archives / "birds.zip")
    assert len(dataset.species) == 200
    first = choose_species(40, dataset.species)
    chosen = [picture for picture in dataset.pictures if picture.species_id in first]
    assert {len(picture.captions) for picture in chosen} == {10}
    zero_shot = split_pictures(chosen, 40, "zero-shot", 0)
    assert sum(picture.split == "train" for picture in zero_shot) == 1426
    assert sum(picture.split == "test" for picture in zero_shot) == 864

    cuckoos = choose_species(["*Cuckoo"], dataset.species)
    assert [dataset.species[number] for number in cuckoos] == [
        "031.Black_billed_Cuckoo",
        "032.Mangrove_Cuckoo",
        "033.Yellow_billed_Cuckoo",
    ]
    albatross = [picture for picture in dataset.pictures if picture.species_id == 1]
    with pytest.raises(UserError, match="`dvc exp run -S species=1 -S split=by-image`"):
        split_pictures(albatross, 1, "zero-shot", 0)
    by_image = split_pictures(albatross, 1, "by-image", 0)
    assert sum(picture.split == "test" for picture in by_image) == 15

    with pytest.raises(UserError, match="no pictures of 160 of the 200 chosen species, numbers 41-200 "):
        require_pictures(choose_species("all", dataset.species), dataset.species, dataset.pictures)
