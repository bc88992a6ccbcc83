"""Random changes of patches in training, on whole batches, on their device."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval
from torch.nn import functional as F

from ..exceptions import InputError
from ..utils._sklearn import Estimator
from ..utils._torch import sent

LUMA = (0.2989, 0.587, 0.114)  # grey of red, green, blue, as in torchvision (ITU-R BT.601)
BRIGHTNESS, CONTRAST, SATURATION = range(3)


class PatchAugment(Estimator):
    """Jitter the colours of patches, flip and rotate them, each by a draw of its own.

    Parameters
    ----------
    brightness, contrast, saturation : float, default=0.5
        Each factor is drawn evenly from [max(0, 1 - strength), 1 + strength], and the three act
        in random order, as in torchvision's ColorJitter. 0 leaves it out.
    flip : bool, default=True
        Mirror half of the patches left to right.
    rotate : float, default=180.0
        Largest angle in degrees, drawn evenly from [-rotate, rotate]; 0 leaves it out.

    Notes
    -----
    The defaults are those of STco and mclSTExp. They rotate with torchvision, which leaves black
    corners and takes the nearest pixel; here what lies beyond the border is the patch mirrored at
    its border, and pixels are interpolated linearly. Mirrored tissue was preferred to a larger
    crop, so that a patch shows the same tissue at the same scale as in prediction.

    The draws are made on the CPU whatever the device, always eight numbers a patch, so that a
    seed means the same on every device, and a strength changes no other draw.

    Examples
    --------
    >>> import torch
    >>> from histoexpr import PatchAugment
    >>> patches = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    >>> PatchAugment()(patches, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 32, 32])
    """

    _parameter_constraints = {
        "brightness": [Interval(Real, 0, None, closed="left")],
        "contrast": [Interval(Real, 0, None, closed="left")],
        "saturation": [Interval(Real, 0, None, closed="left")],
        "flip": ["boolean"],
        "rotate": [Interval(Real, 0, 180, closed="both")],
    }

    def __init__(self, brightness=0.5, contrast=0.5, saturation=0.5, flip=True, rotate=180.0):
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.flip = flip
        self.rotate = rotate

    def __call__(self, images, generator=None):
        """Change a batch; the tensor given stays as it is.

        Parameters
        ----------
        images : Tensor of shape (n, 3, height, width), dtype uint8 or floating
            0..255, or 0..1 for a floating dtype; on any device.
        generator : torch.Generator on the CPU, default=None
            None draws from torch's default generator.

        Returns
        -------
        Tensor of the same shape, dtype, range and device

        Raises
        ------
        ValueError
            If `images` is not such a tensor, or a parameter is out of its range.
        """
        self._validate_params()
        _check_batch(images)
        draws = torch.rand(len(images), 8, generator=generator)
        order = draws[:, :3].argsort(dim=1)
        signed = 2 * draws[:, 3:7] - 1
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])
        factors = (1 + signed[:, :3] * strengths).clamp_(min=0)
        angles = torch.deg2rad(self.rotate * signed[:, 3])
        flipped = (draws[:, 7] < 0.5) & self.flip
        order, factors, angles, flipped = (
            sent(drawn, images.device) for drawn in (order, factors, angles, flipped)
        )
        # Planes of colours: pixel by pixel, jitter takes twice as long.
        pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
        if images.dtype == torch.uint8:
            pixels = pixels.div_(255)
        if strengths.any():
            pixels = jitter(pixels, factors, order)
        if self.rotate:
            pixels = rotate(pixels, angles, flipped)
        elif self.flip:
            pixels = torch.where(flipped.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
        if images.dtype == torch.uint8:
            return pixels.mul(255).round_().to(torch.uint8)
        return pixels.to(images.dtype)


def jitter(pixels, factors, order):
    """Brightness, contrast and saturation of each patch by its own factors, in its own order.

    Parameters
    ----------
    pixels : Tensor of shape (n, 3, height, width), floating, 0..1
    factors : Tensor of shape (n, 3)
        Of brightness, contrast and saturation.
    order : Tensor of shape (n, 3), dtype int64
        Which of them (0, 1, 2) comes first, second, third.

    Returns
    -------
    Tensor like `pixels`
    """
    for kind in order.T:  # three steps, not patches
        factor = factors.gather(1, kind[:, None]).view(-1, 1, 1, 1)
        kind = kind.view(-1, 1, 1, 1)
        red, green, blue = pixels.split(1, dim=1)
        grey = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
        mean = grey.mean((2, 3), keepdim=True)
        # Each is a blend: with black, with the mean grey of the patch, with the grey of the pixel.
        base = torch.where(kind == SATURATION, grey, mean * (kind == CONTRAST))
        pixels = torch.lerp(base.expand_as(pixels), pixels, factor).clamp_(0, 1)
    return pixels


def rotate(pixels, angles, flipped):
    """Rotate each patch about its centre, some mirrored left to right first.

    Parameters
    ----------
    pixels : Tensor of shape (n, 3, height, width), floating
    angles : Tensor of shape (n,)
        Radians, counter-clockwise as seen on the screen.
    flipped : Tensor of shape (n,), dtype bool

    Returns
    -------
    Tensor like `pixels`
        Linear interpolation; beyond the border the patch is mirrored at its border.
    """
    if len(pixels) == 0:
        return pixels
    height, width = pixels.shape[-2:]
    cos, sin = angles.cos(), angles.sin()
    mirror = torch.where(flipped, -1.0, 1.0)
    zero = torch.zeros_like(cos)
    # From output to input, in coordinates that run from -1 to 1 along each side, y down.
    rows = [
        torch.stack([mirror * cos, -mirror * sin * height / width, zero], dim=1),
        torch.stack([sin * width / height, cos, zero], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), pixels.shape, align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _check_batch(images):
    if not isinstance(images, torch.Tensor):
        raise InputError(f"images must be a torch.Tensor; got {type(images).__name__}.")
    known = images.dtype == torch.uint8 or images.dtype.is_floating_point
    if images.ndim != 4 or images.shape[1] != 3 or not known:
        raise InputError(
            "images must be a batch of shape (n, 3, height, width), uint8 or floating; got "
            f"{tuple(images.shape)} {images.dtype}. Channels last? Use images.permute(0, 3, 1, 2)."
        )
    if images.dtype.is_floating_point and images.numel():
        low, high = (float(v) for v in images.aminmax())
        if not (low >= 0 and high <= 1):  # NaN is refused, too
            raise InputError(
                f"floating images must lie in 0..1; got {low:.4g} to {high:.4g}. Augment before "
                "standardising, and divide 0..255 by 255."
            )
