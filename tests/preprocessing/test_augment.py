"""PatchAugment: each patch its own draw, torchvision's colours, no corners, a seed that holds."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from histoexpr import PatchAugment
from histoexpr.preprocessing._augment import jitter, rotate
from histoexpr.utils._torch import isolated_seed

NOTHING = dict(brightness=0, contrast=0, saturation=0, flip=False, rotate=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def patches():
    """Tissue-like: coloured, smooth, (6, 3, 24, 24) in 0..1."""
    coarse = torch.rand(6, 3, 5, 5, generator=seeded(7))
    return torch.nn.functional.interpolate(coarse, 24, mode="bilinear", align_corners=True)


# what is done ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
def test_nothing_at_zero_strength(patches, dtype):
    images = (255 * patches).to(dtype) if dtype == torch.uint8 else patches.to(dtype)
    out = PatchAugment(**NOTHING)(images)
    assert out.dtype == dtype and torch.equal(out, images)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_colours_are_those_of_torchvision(patches, order):
    factors = torch.rand(len(patches), 3, generator=seeded()) * 1.5
    steps = (tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation)
    found = jitter(patches, factors, torch.tensor(order).expand(len(patches), 3))
    for patch, own, result in zip(patches, factors, found):
        for step in order:
            patch = steps[step](patch, float(own[step]))
        torch.testing.assert_close(result, patch, atol=2e-4, rtol=0)  # it rounds its luma


def test_each_patch_has_its_own_order(patches):
    orders = torch.tensor([(0, 1, 2), (2, 1, 0)]).repeat(3, 1)
    factors = torch.tensor([1.4, 0.6, 1.5]).expand(6, 3)
    found = jitter(patches, factors, orders)
    for row in (0, 1):
        alone = jitter(patches[row : row + 1], factors[:1], orders[row : row + 1])
        torch.testing.assert_close(found[row], alone[0])


@pytest.mark.parametrize("shape", [(25, 25), (24, 36)])
@pytest.mark.parametrize("degrees", [0, 30, -117, 180])
def test_rotation_is_torchvisions_in_the_circle(patches, shape, degrees):
    patches = torch.nn.functional.interpolate(patches, shape, mode="bilinear")
    found = rotate(patches, torch.full((6,), math.radians(degrees)), torch.zeros(6, dtype=bool))
    wanted = tvf.rotate(patches, degrees, InterpolationMode.BILINEAR)
    height, width = shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = torch.hypot(y - (height - 1) / 2, x - (width - 1) / 2) < height / 2 - 1
    torch.testing.assert_close(found[..., centre], wanted[..., centre], atol=1e-3, rtol=0)


def test_flip_comes_before_rotation(patches):
    angle = torch.full((6,), 0.7)
    flipped = rotate(patches, angle, torch.ones(6, dtype=bool))
    torch.testing.assert_close(
        flipped, rotate(patches.flip(-1), angle, torch.zeros(6, dtype=bool)), atol=1e-5, rtol=0
    )


def test_half_are_flipped_to_the_bit(patches):
    many = patches[:1].repeat(400, 1, 1, 1)
    out = PatchAugment(**{**NOTHING, "flip": True})(many, seeded())
    mirrored = (out == many.flip(-1)).all(dim=(1, 2, 3))
    same = (out == many).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_no_dark_corners(dtype):
    white = torch.full((32, 3, 20, 30), 255 if dtype == torch.uint8 else 1, dtype=dtype)
    out = PatchAugment(**{**NOTHING, "flip": True, "rotate": 180})(white, seeded())
    assert torch.allclose(out.float(), white.float(), atol=1e-6)


def test_range_and_input_are_kept(patches):
    images = (255 * patches).to(torch.uint8)
    before = images.clone(), patches.clone()
    strong = PatchAugment(brightness=2, contrast=2, saturation=2)
    out = strong(images, seeded())
    assert out.dtype == torch.uint8 and out.shape == images.shape
    out = strong(patches, seeded())
    assert out.dtype == torch.float32 and out.min() >= 0 and out.max() <= 1
    assert torch.equal(images, before[0]) and torch.equal(patches, before[1])
    half = strong(patches.half(), seeded())
    assert half.dtype == torch.float16 and (half.float() - out).abs().max() < 0.02


# the draws ---------------------------------------------------------------------------------------


def test_each_patch_gets_its_own_draw(patches):
    same = patches[:1].repeat(16, 1, 1, 1)
    for name in ("brightness", "contrast", "saturation", "rotate"):
        strength = 90 if name == "rotate" else 0.5
        out = PatchAugment(**{**NOTHING, name: strength})(same, seeded())
        assert len(torch.unique(out.flatten(1), dim=0)) == 16, name


def test_a_seed_decides(patches):
    augment = PatchAugment()
    first = augment(patches, seeded(1))
    assert torch.equal(augment(patches, seeded(1)), first)
    assert not torch.equal(augment(patches, seeded(2)), first)
    before = torch.random.get_rng_state()
    with isolated_seed(3):
        ambient = augment(patches)
        assert not torch.equal(augment(patches), ambient)
    with isolated_seed(3):
        assert torch.equal(augment(patches), ambient)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_strength_changes_no_other_draw(patches):
    whole = PatchAugment(**{**NOTHING, "flip": True})(patches, seeded())
    generator = seeded()
    PatchAugment()(patches, generator)
    other = seeded()
    PatchAugment(**NOTHING)(patches, other)
    assert torch.equal(generator.get_state(), other.get_state())
    jittered = PatchAugment(**{**NOTHING, "flip": True, "brightness": 1e-6})(patches, seeded())
    torch.testing.assert_close(jittered, whole, atol=1e-5, rtol=0)


def test_mean_pixels_are_as_expected():
    grey = torch.full((4000, 3, 2, 2), 0.4)
    out = PatchAugment(**{**NOTHING, "brightness": 0.5})(grey, seeded())[:, 0, 0, 0]
    assert abs(out.mean() - 0.4) < 0.005  # factors are even over 0.5..1.5
    assert abs(out.std() - 0.4 / math.sqrt(12)) < 0.003
    assert 0.2 <= out.min() < 0.205 and 0.595 < out.max() <= 0.6
    for name in ("contrast", "saturation"):  # neither changes a uniform grey
        same = PatchAugment(**{**NOTHING, name: 0.5})(grey, seeded())
        torch.testing.assert_close(same, grey, atol=1e-3, rtol=0)


def test_clone_and_parameters():
    augment = PatchAugment(contrast=0.1, rotate=5.0)
    assert clone(augment).get_params() == augment.get_params()
    assert PatchAugment().get_params() == dict(
        brightness=0.5, contrast=0.5, saturation=0.5, flip=True, rotate=180.0
    )


def test_the_order_in_memory_changes_nothing(patches):
    pixel_by_pixel = patches.contiguous(memory_format=torch.channels_last)
    assert pixel_by_pixel.stride() != patches.contiguous().stride()
    one, other = (PatchAugment()(p, seeded()) for p in (patches.contiguous(), pixel_by_pixel))
    assert torch.equal(one, other)


# bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 4, 4), np.uint8), "must be a torch.Tensor; got ndarray"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "batch of shape"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), "Channels last"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "int64"),
        (torch.full((2, 3, 4, 4), 200.0), "must lie in 0..1; got 200"),
        (torch.full((2, 3, 4, 4), -0.5), "must lie in 0..1"),
        (torch.full((2, 3, 4, 4), torch.nan), "must lie in 0..1"),
    ],
)
def test_wrong_batches(images, message):
    with pytest.raises(ValueError, match=message):
        PatchAugment()(images)


@pytest.mark.parametrize(
    "wrong", [{"brightness": -0.1}, {"rotate": 200}, {"contrast": "much"}, {"flip": 0.5}]
)
def test_wrong_parameters(patches, wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter of PatchAugment"):
        PatchAugment(**wrong)(patches)


def test_an_empty_batch():
    empty = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert PatchAugment()(empty).shape == empty.shape
