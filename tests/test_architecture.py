"""The tables of shapes in docs/architecture.md are those of the networks."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from stackgan.networks import Discriminator, Stage1Generator, Stage2Generator
from tests.conftest import PROJECT
from tests.stackgan.recipes import network

PAGE = (PROJECT / "docs" / "architecture.md").read_text()
GF, DF, T = 8, 4, 6
CONFIG = network(gf_dim=GF, df_dim=DF, df_cap=32)


def networks() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    embedding, noise = torch.randn(2, T), torch.randn(2, CONFIG.noise_dim)
    first = Stage1Generator(CONFIG, T)
    return {
        "`Stage1Generator`": (first, (embedding, noise)),
        "`Stage2Generator`": (Stage2Generator(CONFIG, T, first), (embedding, noise)),
        "`Discriminator` 64": (Discriminator(CONFIG, T, 64), (torch.randn(2, 3, 64, 64), embedding)),
        "`Discriminator` 256": (Discriminator(CONFIG, T, 256), (torch.randn(2, 3, 256, 256), embedding)),
    }


def rows(title: str) -> Iterator[tuple[str, str, str]]:
    table = re.search(rf"^\| {title}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    assert table, title
    for line in table.group(1).splitlines():
        layer, formula, paper = (cell.strip(" `") for cell in line.strip("|").split("|"))
        yield layer, formula, paper


def shape(formula: str, gf_dim: int, df_dim: int) -> list[int]:
    if formula == "one logit":
        return []
    terms = formula.replace("·", "*").split(" × ")
    names = {"gf_dim": gf_dim, "df_dim": df_dim, "c_dim": CONFIG.c_dim}
    return [int(eval(term, {"__builtins__": {}}, names)) for term in terms]


@pytest.mark.parametrize(
    "title", ["`Stage1Generator`", "`Stage2Generator`", "`Discriminator` 64", "`Discriminator` 256"]
)
@torch.no_grad()
def test_every_layer_has_the_shape_that_the_page_gives(title: str) -> None:
    module, inputs = networks()[title]
    seen: dict[str, list[int]] = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(
            lambda _layer, _inputs, output, name=name: seen.update(
                {name: list(output.shape[1:])} if isinstance(output, Tensor) else {}
            )
        )
    module(*inputs)
    for layer_name, formula, paper in rows(title):
        assert seen[layer_name] == shape(formula, GF, DF), layer_name
        assert shape(formula, 128, 64) == shape(paper, 128, 64), layer_name
