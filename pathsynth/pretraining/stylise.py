"""Graphic filters on natural images (stained glass, stippling, hatching, contours, line drawing), each with words for it.

Natural images at 32 px hold few closed cells, dots and bundles of lines. A base that has drawn these at a caption's word
can be taught new tissue in few steps; it has still seen nothing but natural images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STYLE_WORDS = (
    *("small", "large", "thin", "thick", "wavy", "elongated"),
    *("stained", "glass", "stippled", "hatched", "contours", "line", "drawing"),
)
"""Every word that :func:`stylise` may use."""


@dataclass(frozen=True)
class Styled:
    """``images`` float (N, 3, H, W) in [0, 1] and, an image, the words of its filter (``""``: unfiltered)."""

    images: Tensor
    phrases: list[str]


def stylise(images: Tensor, share: float, generator: torch.Generator) -> Styled:
    """Filter a random share of square float images (N, 3, H, W) in [0, 1], each with one filter drawn at random."""
    n = len(images)
    filtered = torch.rand(n, generator=generator) < share
    which = torch.where(filtered, torch.randint(len(_FILTERS), (n,), generator=generator), torch.tensor(-1))
    out, phrases = images.clone(), [""] * n
    for index, draw in enumerate(_FILTERS):
        rows = (which == index).nonzero().flatten()
        if len(rows) == 0:
            continue
        styled = draw(images[rows], generator)
        out[rows] = styled.images.clamp(0, 1)
        for row, phrase in zip(rows.tolist(), styled.phrases, strict=True):
            phrases[row] = phrase
    return Styled(out, phrases)


def _stained_glass(images: Tensor, generator: torch.Generator) -> Styled:
    """Flat cells of the picture's own colours between leads of one ink."""
    cells = _cells(images, generator, low=2.5, high=6.5, stretch=1.6)
    lead = 0.02 + 0.07 * _uniform(images, generator)
    ink, ground = _inks(images, generator)
    colours = _at(images, cells.nearest)
    mix = _uniform(images, generator)
    glass = colours * mix + ground * (1 - mix)
    edge = _soft((cells.second - cells.first) / 2, lead, images.shape[-1])
    thick = _words(lead, 0.035, 0.065, "thin", "thick")
    return Styled(glass * edge + ink * (1 - edge), _join(cells.size, thick, "stained glass"))


def _stippling(images: Tensor, generator: torch.Generator) -> Styled:
    """One dot a cell, larger where the picture is darker."""
    cells = _cells(images, generator, low=4.0, high=9.0, stretch=3.0)
    dark = 1 - _at(images.mean(1, keepdim=True), cells.nearest)
    radius = cells.pitch * (0.2 + 0.15 * _uniform(images, generator) + 0.25 * dark)
    ink, ground = _inks(images, generator)
    mix = 0.8 * _uniform(images, generator)
    paper = images * mix + ground * (1 - mix)
    outside = _soft(cells.first, radius, images.shape[-1])
    shape = ["elongated" if s > 2 else "" for s in cells.stretch]
    return Styled(paper * outside + ink * (1 - outside), _join(cells.size, shape, "stippled"))


def _hatching(images: Tensor, generator: torch.Generator) -> Styled:
    """Parallel lines, straight or wavy, bent a little by the picture and thicker where it is dark."""
    size = images.shape[-1]
    x, y = _plane(size, _uniform(images, generator) * 2 * math.pi)
    frequency = 3 + 6 * _uniform(images, generator)
    swing = (_uniform(images, generator) * 0.24 - 0.12).clamp(min=0)
    light = _blurred(images).mean(1, keepdim=True)
    bend = 0.15 * _uniform(images, generator) * (light - 0.5)
    period = 2 * math.pi * (1 + 2 * _uniform(images, generator))
    along = torch.sin(y * period + 2 * math.pi * _uniform(images, generator))
    wave = torch.cos(2 * math.pi * frequency * (x + swing * along + bend))
    width = 0.2 + 0.5 * _uniform(images, generator)
    level = torch.cos(math.pi * (width + 0.3 * (0.5 - light)).clamp(0.1, 0.85))
    inked = torch.sigmoid((wave - level) * 6)
    ink, ground = _inks(images, generator)
    mix = 0.7 * _uniform(images, generator)
    paper = images * mix + ground * (1 - mix)
    bent = ["wavy" if s > 0.03 else "" for s in swing.flatten()]
    return Styled(paper * (1 - inked) + ink * inked, _join(_words(width, 0.36, 0.54, "thin", "thick"), bent, "hatched"))


def _contours(images: Tensor, generator: torch.Generator) -> Styled:
    """Lines of equal lightness of the blurred picture: closed rings around its bright and dark parts."""
    light = _blurred(_blurred(images)).mean(1, keepdim=True)
    low, high = light.amin((2, 3), keepdim=True), light.amax((2, 3), keepdim=True)
    height = (light - low) / (high - low + 1e-3)
    rings = torch.cos(2 * math.pi * (1.5 + 2.5 * _uniform(images, generator)) * height + 2 * math.pi * _uniform(images, generator))
    width = 0.2 + 0.4 * _uniform(images, generator)
    inked = torch.sigmoid((rings - torch.cos(math.pi * width)) * 5)
    ink, ground = _inks(images, generator)
    mix = _uniform(images, generator)
    paper = images * mix + ground * (1 - mix)
    return Styled(paper * (1 - inked) + ink * inked, _join(_words(width, 0.33, 0.47, "thin", "thick"), "contours"))


def _line_drawing(images: Tensor, generator: torch.Generator) -> Styled:
    """Ink where the lightness changes, paper elsewhere."""
    grey = images.mean(1, keepdim=True)
    dx, dy = F.pad(grey.diff(dim=3), (0, 1, 0, 0)), F.pad(grey.diff(dim=2), (0, 0, 0, 1))
    change = (dx**2 + dy**2).sqrt()
    inked = (change / (change.mean((2, 3), keepdim=True) * (1.5 + 2 * _uniform(images, generator)) + 1e-4)).clamp(0, 1)
    ink, ground = _inks(images, generator)
    return Styled(ground * (1 - inked) + ink * inked, ["line drawing"] * len(images))


_FILTERS: tuple[Callable[[Tensor, torch.Generator], Styled], ...] = (_stained_glass, _stippling, _hatching, _contours, _line_drawing)


@dataclass(frozen=True)
class _Cells:
    """A jittered grid's Voronoi cells: distances to the two nearest centres (N, 1, H, W), and where the nearest lies."""

    first: Tensor
    second: Tensor
    nearest: Tensor
    pitch: Tensor
    stretch: list[float]
    size: list[str]


def _cells(images: Tensor, generator: torch.Generator, low: float, high: float, stretch: float) -> _Cells:
    """``low`` to ``high`` cells across the image, drawn out along a random direction by up to ``stretch``."""
    n, size = len(images), images.shape[-1]
    count = low + (high - low) * _uniform(images, generator)
    pull = 1 + (stretch - 1) * _uniform(images, generator)
    x, y = _plane(size, _uniform(images, generator) * 2 * math.pi)
    reach = math.ceil(high / 2 * 1.5) + 1
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
    jitter = (torch.rand(n, 2, grid.shape[1], generator=generator) - 0.5) * 0.8
    centres = grid + jitter
    pixels = torch.cat([x * count, y * count / pull], dim=1).flatten(2)
    distance = torch.cdist(pixels.transpose(1, 2).contiguous(), centres.transpose(1, 2).contiguous())
    two, index = distance.topk(2, dim=2, largest=False)
    first, second = (two[..., k].view(n, 1, size, size) / count for k in (0, 1))
    owner = _owner_pixels(index[..., 0], grid.shape[1], size)
    third = (high - low) / 3
    sizes = _words(count, low + third, high - third, "large", "small")
    return _Cells(first, second, owner, 1 / count, pull.flatten().tolist(), sizes)


def _owner_pixels(index: Tensor, cells: int, size: int) -> Tensor:
    """For every pixel (N, H·W), the number of one pixel that its whole cell shares: the mean position of the cell's pixels."""
    n, pixels = index.shape
    position = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1).float()
    one = torch.zeros(n, cells).scatter_add_(1, index, torch.ones(n, pixels)).clamp(min=1)
    middle = [torch.zeros(n, cells).scatter_add_(1, index, p.expand(n, -1)) / one for p in position]
    row, column = (m.gather(1, index).round().long() for m in middle)
    return row * size + column


def _at(images: Tensor, pixels: Tensor) -> Tensor:
    """Colours (N, C, H, W) of the blurred images at the given pixel numbers (N, H·W)."""
    flat = _blurred(images).flatten(2)
    return flat.gather(2, pixels.unsqueeze(1).expand(-1, flat.shape[1], -1)).view_as(images)


def _plane(size: int, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, 1, H, W) about the middle, the image one unit wide, turned by ``angle`` (N, 1, 1, 1) in radians."""
    line = (torch.arange(size) + 0.5) / size - 0.5
    v, u = torch.meshgrid(line, line, indexing="ij")
    cos, sin = torch.cos(angle), torch.sin(angle)
    return u * cos + v * sin, v * cos - u * sin


def _inks(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A dark and a light colour (N, 3, 1, 1) near the picture's own; one time in five the other way round."""
    n, mean = len(images), images.mean((2, 3), keepdim=True)
    dark = mean * (0.1 + 0.5 * _uniform(images, generator)) + 0.3 * torch.rand(n, 3, 1, 1, generator=generator)
    light = mean + (1 - mean) * _uniform(images, generator)
    dark = torch.minimum(dark, light * 0.75)
    swapped = _uniform(images, generator) < 0.2
    return torch.where(swapped, light, dark), torch.where(swapped, dark, light)


def _soft(distance: Tensor, radius: Tensor, size: int) -> Tensor:
    """0 inside ``radius``, 1 outside, over about a pixel."""
    return torch.sigmoid((distance - radius) * size * 3)


def _blurred(images: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), 5, stride=1)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 1, 1, 1) in [0, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=generator)


def _words(values: Tensor, low: float, high: float, below: str, above: str) -> list[str]:
    return [below if v < low else above if v > high else "" for v in values.flatten().tolist()]


def _join(*parts: list[str] | str) -> list[str]:
    n = max(len(p) for p in parts if isinstance(p, list))
    columns = [p if isinstance(p, list) else [p] * n for p in parts]
    return [" ".join(w for w in row if w) for row in zip(*columns, strict=True)]
