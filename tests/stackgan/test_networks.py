import copy
import itertools
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from stackgan.layers import (
    Blur,
    ConditioningAugmentation,
    JointConv,
    Sharpen,
    SpectralNorm,
    UpBlock,
    initialise,
    normalised,
)
from stackgan.networks import Discriminator, Stage1Generator, Stage2Generator
from tests.stackgan.recipes import OURS, PAPER, PAPER_WIDTHS, network

T = 16


@pytest.mark.parametrize("recipe", [OURS, PAPER], ids=["ours", "paper"])
def test_shapes_and_ranges(recipe: dict[str, object]) -> None:
    config = network(recipe)
    embedding, noise = torch.randn(2, T), torch.randn(2, config.noise_dim)
    stage1 = Stage1Generator(config, T)
    stage2 = Stage2Generator(config, T, Stage1Generator(config, T))
    for generator, size in ((stage1, 64), (stage2, 256)):
        output = generator(embedding, noise)
        assert output.image.shape == (2, 3, size, size)
        assert output.image.abs().max() <= 1
        assert output.mu.shape == output.logvar.shape == (2, config.c_dim)
        judged = Discriminator(config, T, size)(output.image, embedding, embedding.flip(0))
        assert [logits.shape for logits in judged.conditional] == [(2,), (2,)]
        assert (judged.unconditional is None) == (config.unconditional_weight == 0)


@pytest.mark.parametrize("stage", [1, 2])
def test_conditional_norm_lets_a_caption_speak_on_the_way_up(stage: int) -> None:
    """With an entrance that is deaf to captions they count through the conditional norm alone."""
    differences = []
    for conditional in (True, False):
        config = network(OURS | {"conditional_norm": conditional, "stage1_skip": False, "gf_dim": 16})
        stage1 = Stage1Generator(config, T)
        generator = stage1 if stage == 1 else Stage2Generator(config, T, stage1)
        entrance = generator.project if isinstance(generator, Stage1Generator) else generator.residual
        entrance.register_forward_hook(lambda module, inputs, output: torch.ones_like(output))
        image = generator.eval()(torch.randn(2, T), torch.zeros(2, config.noise_dim)).image
        differences.append(float((image[0] - image[1]).detach().abs().max()))
    assert differences[0] > 0
    assert differences[1] == 0


def test_parameters_of_the_paper_setting() -> None:
    """The authors' PyTorch code at gf_dim 128, df_dim 64 with 1024-dimensional embeddings, layer by layer.

    The discriminators have 131,200 more than theirs: a text path of their own.
    """
    config = network(PAPER | PAPER_WIDTHS)
    with torch.device("meta"):
        stage1 = Stage1Generator(config, 1024)
        counts = [
            _parameters(stage1),
            _parameters(Discriminator(config, 1024, 64)) - 131_200,
            _parameters(Stage2Generator(config, 1024, stage1)) - _parameters(stage1),
            _parameters(Discriminator(config, 1024, 256)) - 131_200,
        ]
    up = sum(o * 2 * o * 9 + 2 * o for o in (512, 256, 128, 64))
    stage1_g = (1024 + 1) * 256 + 228 * 16384 + 2 * 16384 + up + 64 * 3 * 9
    head = 640 * 512 * 9 + 2 * 512 + 512 * 16 + 1
    stage1_d = 3 * 64 * 16 + sum(o * o // 2 * 16 + 2 * o for o in (128, 256, 512)) + head
    encoder = 3 * 128 * 9 + sum(o * o // 2 * 16 + 2 * o for o in (256, 512)) + 640 * 512 * 9 + 2 * 512
    residual = 4 * 2 * (512 * 512 * 9 + 2 * 512)
    up = sum(o * 2 * o * 9 + 2 * o for o in (256, 128, 64, 32))
    stage2_g = (1024 + 1) * 256 + encoder + residual + up + 32 * 3 * 9
    narrowing = sum(o * 2 * o * 9 + 2 * o for o in (1024, 512))
    stage2_d = 3 * 64 * 16 + sum(o * o // 2 * 16 + 2 * o for o in (128, 256, 512, 1024, 2048)) + narrowing + head
    assert counts == [stage1_g, stage1_d, stage2_g, stage2_d]
    assert [round(count / 1e6, 1) for count in counts] == [10.3, 5.7, 26.3, 71.3]


@pytest.mark.parametrize("downsample", ["pool", "conv"])
@pytest.mark.parametrize("size", [64, 256])
def test_the_logit_depends_on_every_cell_of_the_last_feature_map(downsample: str, size: int) -> None:
    discriminator = Discriminator(network(downsample=downsample), T, size).eval()
    features: list[Tensor] = []
    discriminator.encode.register_forward_hook(lambda *arguments: features.append(arguments[2]))
    image = torch.randn(2, 3, size, size)
    for head in (0, 1):
        features.clear()
        judged = discriminator(image, torch.randn(2, T))
        logits = judged.conditional[0] if head == 0 else judged.unconditional
        (gradient,) = torch.autograd.grad(logits.sum(), features[0])
        assert gradient.shape == (2, 32, 4, 4)
        assert (gradient.abs().sum(dim=1) > 0).all()


def test_sigma_can_be_below_1_unless_relu_forbids_it() -> None:
    for conditioning, below in (("linear", True), ("relu", False)):
        generator = Stage1Generator(network(conditioning=conditioning), T)
        initialise(generator, "normal")
        sigma = torch.exp(0.5 * generator(torch.randn(64, T), torch.randn(64, network().noise_dim)).logvar)
        assert (sigma < 1).any() == below


@pytest.mark.parametrize("stage", [1, 2])
def test_both_parts_of_the_noise_count(stage: int) -> None:
    config = network(stage1_skip=False)
    stage1 = Stage1Generator(config, T)
    for _ in range(20):  # moves the statistics of batch norm, so that it lets differences through
        stage1(torch.randn(9, T), torch.randn(9, config.noise_dim))
    generator = stage1 if stage == 1 else Stage2Generator(config, T, stage1)
    noise = torch.randn(1, config.noise_dim)
    for part in (slice(0, config.z_dim), slice(config.z_dim, config.noise_dim)):
        other = noise.clone()
        other[:, part] = torch.randn(other[:, part].shape)
        image = generator(torch.ones(2, T), torch.cat([noise, other])).image
        assert (image[0] - image[1]).abs().max() > 1e-3


def test_c_is_drawn_by_eps_from_the_captions_own_distribution() -> None:
    augmentation = ConditioningAugmentation(T, 5, "linear")
    embedding, eps = torch.randn(3, T), torch.randn(3, 5)
    drawn = augmentation(embedding, eps)
    assert torch.allclose(drawn.c, drawn.mu + torch.exp(0.5 * drawn.logvar) * eps)
    assert torch.equal(augmentation(embedding, torch.zeros(3, 5)).c, drawn.mu)


def test_pictures_depend_on_caption_and_noise_alone() -> None:
    generator = Stage1Generator(network(), T).eval()
    embedding, noise = torch.randn(3, T), torch.randn(3, network().noise_dim)
    image = generator(embedding, noise).image
    assert torch.equal(generator(embedding, noise).image, image)
    assert not torch.equal(generator(embedding.flip(0), noise).image, image)
    assert not torch.equal(generator(embedding, noise.flip(0)).image, image)
    assert torch.equal(generator.train()(embedding, noise).image, generator(embedding, noise).image)


def test_sharpening_keeps_plain_areas_and_makes_the_finest_waves_loud() -> None:
    sharpen, inside = Sharpen(2.0), (..., slice(1, -1), slice(1, -1))
    plain = torch.ones(1, 3, 8, 8)
    lines = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 3, 8, 8)
    wider = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(2).expand(1, 3, 8, 8)
    assert torch.allclose(sharpen(plain)[inside], plain[inside])
    for wave, louder in ((lines, 3), (lines.mT, 3), (lines * lines.mT, 3), (wider, 2)):
        assert torch.allclose(sharpen(wave)[inside], louder * wave[inside])


def test_a_discriminator_sees_sharpened_pictures() -> None:
    image, embedding = torch.randn(2, 3, 64, 64), torch.randn(2, T)
    torch.manual_seed(0)
    as_it_is = Discriminator(network(sharpen=0.0), T, 64).eval()
    torch.manual_seed(0)
    sharp = Discriminator(network(sharpen=2.0), T, 64).eval()
    expected = as_it_is(Sharpen(2.0)(image), embedding).conditional[0]
    assert torch.allclose(sharp(image, embedding).conditional[0], expected)
    assert not torch.allclose(as_it_is(image, embedding).conditional[0], expected)


def test_stage1_stays_frozen_inside_stage2() -> None:
    stage1 = Stage1Generator(network(), T)
    stage2 = Stage2Generator(network(), T, stage1).train()
    assert stage2.training
    assert not any(module.training for module in stage1.modules())
    before = {name: tensor.clone() for name, tensor in stage1.state_dict().items()}
    stage2(torch.randn(4, T), torch.randn(4, network().noise_dim)).image.mean().backward()
    assert all(parameter.grad is None for parameter in stage1.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage1.state_dict().items())


def test_an_untrained_stage2_with_skip_draws_stage1s_picture() -> None:
    stage1 = Stage1Generator(network(), T)
    stage2 = Stage2Generator(network(), T, stage1).eval()
    nn.init.zeros_(stage2.to_rgb.weight)
    embedding, noise = torch.randn(2, T), torch.randn(2, network().noise_dim)
    enlarged = nn.functional.interpolate(stage1(embedding, noise).image, scale_factor=4.0, mode="bilinear")
    assert torch.allclose(stage2(embedding, noise).image, 0.98 * enlarged, atol=1e-5)


def test_stage2_redraws_originals_as_it_would_drafts_of_stage1() -> None:
    stage2 = Stage2Generator(network(), T, Stage1Generator(network(), T)).eval()
    embedding, noise = torch.randn(2, T), torch.randn(2, network().noise_dim)
    c = stage2.augmentation(embedding, noise[:, network().z_dim :]).c
    small = 2 * torch.rand(2, 3, 64, 64) - 1
    original = nn.functional.interpolate(small, scale_factor=4.0)[:1]
    alone, beside = stage2(embedding, noise), stage2(embedding, noise, original)
    assert alone.redrawn is None
    assert torch.allclose(beside.image, alone.image, atol=1e-5)
    assert torch.allclose(beside.redrawn, stage2.redraw(small, c)[:1], atol=1e-5)


@pytest.mark.parametrize("height", [4, 12], ids=["product", "convolution"])
def test_a_block_enlarges_and_convolves(height: int) -> None:
    block, x = UpBlock(5, 3), torch.randn(2, 5, height, height + 1)
    plain = block.conv(nn.functional.interpolate(x, scale_factor=2.0))
    enlarged = block._enlarge(x)
    assert torch.allclose(enlarged, plain, atol=1e-6)
    ours, reference = (torch.autograd.grad(y.square().sum(), block.conv.weight)[0] for y in (enlarged, plain))
    assert torch.allclose(ours, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels last"])
def test_the_caption_scales_and_shifts_each_map(layout: torch.memory_format) -> None:
    block, x, c = UpBlock(5, 3, c_dim=2).eval(), torch.randn(2, 5, 8, 9).to(memory_format=layout), torch.randn(2, 2)
    assert block.modulate is not None
    normal, says, drawn = block.norm(block._enlarge(x)), block.modulate(c), block(x, c)
    for picture, map_ in itertools.product(range(2), range(3)):
        scale, shift = says[picture, map_], says[picture, 3 + map_]
        expected = torch.relu(normal[picture, map_] * (1 + scale) + shift)
        assert torch.allclose(drawn[picture, map_], expected, atol=1e-6)


@pytest.mark.parametrize("height", [4, 12], ids=["product", "convolution"])
def test_a_bilinear_block_convolves_the_bilinear_enlargement(height: int) -> None:
    block, x, inside = UpBlock(5, 3, bilinear=True), torch.randn(2, 5, height, height), (..., *[slice(2, -2)] * 2)
    plain = block.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear"))
    assert torch.allclose(block.blur(block._enlarge(x))[inside], plain[inside], atol=1e-6)


def test_a_blur_leaves_a_plain_area_as_it_is_to_its_borders() -> None:
    assert torch.allclose(Blur(3)(torch.ones(1, 3, 4, 4)), torch.ones(1, 3, 4, 4))


def test_larger_maps_alone_are_enlarged_bilinearly_and_those_as_the_parameter_says() -> None:
    generators: dict[str, Any] = {}
    for upsample in ("nearest", "bilinear"):
        stage1 = Stage1Generator(network(upsample=upsample), T)
        generators[upsample] = stage1, Stage2Generator(network(upsample=upsample), T, stage1)
    blurs = {
        upsample: [[isinstance(block.blur, Blur) for block in generator.enlarge] for generator in both]
        for upsample, both in generators.items()
    }
    assert blurs == {"nearest": [[False] * 4] * 2, "bilinear": [[False, False, True, True], [True] * 4]}


def test_joining_a_vector_equals_the_convolution_over_its_repetition() -> None:
    joint, features, vectors = JointConv(5, 3, 4, bias=True), torch.randn(2, 5, 6, 4), torch.randn(2, 3)
    repeated = vectors[:, :, None, None].expand(-1, -1, 6, 4)
    plain = nn.functional.conv2d(torch.cat([features, repeated], dim=1), joint.weight, joint.bias, padding=1)
    both, first = joint(features, vectors, vectors[:1])
    assert torch.allclose(both, plain, atol=1e-6)
    assert torch.allclose(first, plain[:1], atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Conv2d(5, 4, 3), nn.Linear(7, 4)], ids=["convolution", "linear"])
def test_spectral_norm_is_torchs_times_the_gain_in_values_gradients_and_state(layer: nn.Module) -> None:
    theirs: Any = spectral_norm(copy.deepcopy(layer))
    ours: Any = normalised(cast("Any", layer).to(memory_format=torch.channels_last), spectral=True)
    ours.load_state_dict(theirs.state_dict())
    for step in range(6):
        weights, gradients = [], []
        for module, gain in ((ours, 1.0), (theirs, SpectralNorm.GAIN)):
            weights.append(gain * module.train(step < 4).weight)
            (weights[-1].flatten() * torch.arange(weights[-1].numel())).sum().backward()
            parameter = module.parametrizations.weight.original
            gradients.append(parameter.grad)
            parameter.grad = None
        assert torch.allclose(weights[0], weights[1], atol=1e-6)
        assert torch.allclose(gradients[0], gradients[1], atol=1e-3, rtol=1e-4)
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], tensor, atol=1e-6), name


@torch.no_grad()
def test_a_pictures_signal_keeps_its_scale_through_a_normalised_encoder() -> None:
    encoder = Discriminator(network(df_dim=16, downsample="conv"), T, 64).encode
    scales: list[float] = []
    for block in encoder:
        block.register_forward_hook(lambda *arguments: scales.append(float(arguments[2].std())))
    initialise(encoder, "orthogonal")  # all singular values alike, so that the norm says all about the scale
    encoder.eval()(torch.randn(8, 3, 64, 64))
    assert scales[-1] > 0.7 * scales[0]


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initialisation_reaches_every_trained_weight_and_no_frozen_one(kind: str) -> None:
    stage2 = Stage2Generator(network(), T, Stage1Generator(network(), T))
    for module in (stage2, Discriminator(network(), T, 64)):
        before = {name: parameter.clone() for name, parameter in module.named_parameters()}
        initialise(module, kind)
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                assert torch.equal(parameter, before[name]) == name.startswith("stage1."), name


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
