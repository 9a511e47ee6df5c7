"""The scene's man-made things as textures: a board with text and test charts, two moving signs, a wire fence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.render.canvas import painted, texels_of
from benchmarks.render.noise import FloatArray, fractal, mix, smoothstep
from benchmarks.render.texture import Texture
from patchvsr.errors import UserError

FINEST = 950.0  # cycles per frame height: a little under half of 2160
WORDS = (
    "Every tile is denoised on its own; only the joints know of each other. A fine line that crosses a joint must "
    "leave it where it entered, or the eye will find the grid before it finds the picture. Letters are honest "
    "witnesses: five strokes, two counters, one baseline, and nobody needs to be told when an e has become an o. "
    "Numbers are stricter still: 3.1416, 2.7183, 1.6180, 0.5772, 299792458 and 6.626e-34 mean nothing if one digit "
    "is invented. Quick zephyrs blow, vexing daft Jim; sphinx of black quartz, judge my vow; pack my box with five "
    "dozen jugs. Wood, wire, leaf and gravel come next, each at its own scale, each moving by its own amount. "
)


def _font(name: str, size: float) -> ImageFont.FreeTypeFont:
    spec = find_spec("matplotlib")
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf" / name if spec and spec.origin else None
    if path is None or not path.exists():
        raise UserError(f"the rendered clip needs matplotlib's font {name}; install it with: pip install matplotlib")
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def _page(size: tuple[float, float], density: float, seed: int) -> FloatArray:
    """Dark-on-light share `[H, W]` (1 is ink) of a page of text whose lines get smaller."""
    rows, columns = round(size[1] * density), round(size[0] * density)
    image = Image.new("L", (columns, rows))
    draw = ImageDraw.Draw(image)
    margin, y = 0.012 * density, 0.010 * density
    draw.text((margin, y), "PATCH BY PATCH", font=_font("DejaVuSerif-Bold.ttf", 0.037 * density), fill=255)
    y += 0.050 * density
    words = WORDS.split()
    start = seed % 7
    for height in (0.0210, 0.0150, 0.0115, 0.0090, 0.0072, 0.0058, 0.0048):
        name = "DejaVuSans.ttf" if start % 2 else "DejaVuSerif.ttf"
        font = _font(name, height * density)
        text = " ".join(words[start * 9 :] + words)
        for line in _wrapped(text, font, columns - 2 * margin)[:4]:
            draw.text((margin, y), line, font=font, fill=255)
            y += height * 1.28 * density
        y += 0.004 * density
        start += 1
    return np.asarray(image, np.float32) / 255


def _printable(frequency: FloatArray, density: float) -> FloatArray:
    """Contrast of lines of a frequency: none beyond what the texels, or 4K, can carry."""
    return 0.46 * (1 - smoothstep(frequency, min(FINEST, 0.30 * density), min(FINEST * 1.05, 0.36 * density)))


def _zone_plate(x: FloatArray, y: FloatArray, radius: float, density: float) -> FloatArray:
    """Linear-light rings whose frequency grows to `FINEST` at the radius; grey outside."""
    r2 = x * x + y * y
    contrast = _printable(FINEST * np.sqrt(r2) / radius, density)
    return np.where(r2 < radius**2, 0.5 + contrast * np.cos(np.pi * FINEST * r2 / radius), 0.5)


def _star(x: FloatArray, y: FloatArray, radius: float, density: float, spokes: int = 96) -> FloatArray:
    """A Siemens star; grey where its spokes get too fine."""
    r = np.hypot(x, y) + np.float32(1e-6)
    contrast = _printable(spokes / (2 * np.pi * r), density)
    return np.where(r < radius, 0.5 + contrast * np.cos(spokes * np.arctan2(y, x)), 0.5)


def _gratings(x: FloatArray, y: FloatArray, width: float, density: float) -> FloatArray:
    """Six fields of lines, each finer than the one before, upright above and slanted below."""
    cell = np.clip(((x / width + 0.5) * 6).astype(int), 0, 5)
    frequency = np.array([90, 150, 250, 400, 620, 900], np.float32)[cell]
    along = np.where(y > 0, 0.94 * x + 0.34 * y, x)
    return 0.5 + _printable(frequency, density) * np.cos(2 * np.pi * frequency * along)


def _fan(x: FloatArray, y: FloatArray, length: float) -> FloatArray:
    """Ink share of 25 thin lines that leave one point at small angles."""
    ink = np.zeros(x.shape, np.float32)
    if np.abs(y).min() < 0.36 * length:
        for slope in np.linspace(-0.35, 0.35, 25, dtype=np.float32):
            distance = np.abs(y - slope * x) / np.hypot(1, slope)
            ink = np.maximum(ink, 1 - smoothstep(distance, 0.0004, 0.0009))
    return ink * ((x > 0) & (x < length) & (np.abs(y) < 0.09))


def _edge(distance: FloatArray) -> FloatArray:
    """Coverage by the signed distance to an edge, positive inside."""
    return smoothstep(distance, 0, 6e-4)


def board(seed: int, density: float) -> Texture:
    """A notice board on two posts: a page of text on its left, test charts on its right."""
    extent, half = (0.96, 0.86), (0.45, 0.28)
    texels = texels_of(extent, density)
    lying, standing = (fractal(texels, seed, 40.0, 0.6, stretch) for stretch in (12.0, 1 / 12))
    paper = fractal(texels, seed + 1, 50.0, 0.8)
    page = _page((0.44, 0.54), density, seed)

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        up = y + 0.13
        inset = np.minimum(half[0] - np.abs(x), half[1] - np.abs(up))
        posts = _edge(0.022 - np.abs(np.abs(x) - 0.33)) * _edge(0.42 - np.abs(y))
        grain = np.where(inset > -0.02, np.where(np.abs(up) > half[1], lying[rows], standing[rows]), standing[rows])
        wood = mix((0.36, 0.24, 0.15), (0.62, 0.46, 0.30), smoothstep(grain, -1.8, 1.8))
        light = (0.93 + 0.012 * paper[rows]) * (1.0 - 0.10 * (x + up))
        face = light[..., None] * np.array((1.0, 0.985, 0.94), np.float32)
        top, left = rows.start - round(0.032 * density), round(0.035 * density)
        ink = page[max(0, top) : max(0, top + len(y))]
        area = face[max(0, -top) :][: len(ink), left : left + page.shape[1]]
        area[:] = mix(area, (0.14, 0.15, 0.20), ink)
        _print_charts(face, x, up, density)
        return mix(wood, face, _edge(inset)), np.maximum(_edge(inset + 0.02), posts)

    return Texture([painted(extent, texels, paint)], *extent)


def _print_charts(face: FloatArray, x: FloatArray, y: FloatArray, density: float) -> None:
    """Print the charts on a band of the panel's face (in place, gamma 2); coordinates centred on the panel."""
    zone, star, lines = (x - 0.115, y + 0.155), (x - 0.335, y + 0.155), (x - 0.225, y - 0.02)
    charts = (
        (zone, 0.105, 0.105, lambda u, v: _zone_plate(u, v, 0.10, density)),
        (star, 0.105, 0.105, lambda u, v: _star(u, v, 0.10, density)),
        (lines, 0.215, 0.055, lambda u, v: _gratings(u, v, 0.43, density)),
    )
    for (u, v), wide, high, chart in charts:
        inside = (np.abs(u) < wide) & (np.abs(v) < high)
        if inside.any():
            face[inside] = np.sqrt(chart(u[inside], v[inside]))[:, None]
    face[:] = mix(face, (0.45, 0.10, 0.12), _fan(x - 0.015, y - 0.175, 0.42))


def ball(seed: int, density: float) -> Texture:
    """A disc of coloured sectors, scales and a ring of dots, shaded towards its rim."""
    extent = (0.27, 0.27)
    texels = texels_of(extent, density)
    noise = fractal(texels, seed, 12.0, 0.8)
    palette = np.array([(0.86, 0.22, 0.18), (0.95, 0.80, 0.30), (0.20, 0.45, 0.72), (0.93, 0.92, 0.88),
                        (0.25, 0.60, 0.38)], np.float32)  # fmt: skip

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        r, angle = np.hypot(x, y) / 0.13, np.arctan2(y, x)
        colour = palette[((angle / np.pi + 1) * 5).astype(int) % 5] * (0.97 + 0.06 * noise[rows])[..., None]
        scales = 0.5 + 0.5 * np.cos(60 * r) * np.cos(40 * angle)
        colour *= (0.86 + 0.14 * smoothstep(scales, 0.35, 0.65))[..., None]
        dots = np.hypot((angle * 18 / np.pi) % 1 - 0.5, (r - 0.62) * 6)
        colour = mix(colour, (0.12, 0.12, 0.16), 1 - smoothstep(dots, 0.26, 0.30))
        shade = np.sqrt(np.clip(1.05 - 0.75 * ((x + 0.03) ** 2 + (y + 0.04) ** 2) / 0.13**2, 0.12, 1))
        return colour * shade[..., None], 1 - smoothstep(r, 0.994, 1.0)

    return Texture([painted(extent, texels, paint)], *extent)


def kite(seed: int, density: float) -> Texture:
    """A sign with a serial number, hatching and stained paint."""
    extent = (0.36, 0.20)
    texels = texels_of(extent, density)
    stain = fractal(texels, seed, 6.0, 0.65)
    image = Image.new("L", (texels[1], texels[0]))
    draw = ImageDraw.Draw(image)
    for text, size, top in (("4K-0137 SR", 0.046, 0.016), ("mind the seam between the tiles", 0.0165, 0.082),
                            ("inspected 11/26 by K. Q. Lindqvist, lot 58-B", 0.0095, 0.112)):  # fmt: skip
        font = _font("DejaVuSansMono-Bold.ttf", size * density)
        draw.text((0.022 * density, top * density), text, font=font, fill=255)
    letters = np.asarray(image, np.float32) / 255

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        colour = mix((0.16, 0.30, 0.46), (0.24, 0.42, 0.58), smoothstep(stain[rows], -1.5, 1.5))
        hatch = smoothstep(np.cos(2 * np.pi * 110 * (x + 0.6 * y)), -0.2, 0.2) * (y > 0.045)
        colour = mix(mix(colour, (0.93, 0.78, 0.22), hatch), (0.94, 0.94, 0.90), letters[rows])
        border = np.minimum(extent[0] / 2 - np.abs(x), extent[1] / 2 - np.abs(y))
        colour = mix(colour, (0.90, 0.90, 0.86), 1 - smoothstep(np.abs(border - 0.009), 0.0022, 0.0028))
        return colour, smoothstep(border, 0.001, 0.0016)

    return Texture([painted(extent, texels, paint)], *extent)


def _cylinder(distance: FloatArray, radius: float, dark: float) -> FloatArray:
    """Grey `[..., 3]` of a metal cylinder lit from above."""
    lit = dark + 0.37 * np.clip(1 - np.abs(distance / radius + 0.37), 0, 1)
    return lit[..., None] * np.array((1.0, 1.01, 1.03), np.float32)


def fence(seed: int, density: float) -> Texture:
    """A diamond wire fence with a top rail; the wires are lit as cylinders and sag a little."""
    extent, radius, mesh = (2.30, 0.30), 0.0011, 0.052

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        sag = 0.0012 * np.sin(9 * x + seed) + 0.0008 * np.sin(31 * x)
        colour, alpha = np.zeros((*y.shape, 3), np.float32), np.zeros_like(y)
        for turn in (1, -1):
            across = ((x + turn * (y + sag) * 0.82) / mesh) % 1 - 0.5
            distance = across * mesh * 0.773  # divided by the gradient's length, hypot(1, 0.82)
            wire = (1 - smoothstep(np.abs(distance), radius - 2e-4, radius + 2e-4)) * (y > -0.135)
            colour = mix(colour, _cylinder(distance, radius, 0.50), wire)
            alpha = np.maximum(alpha, wire)
        rail = y + 0.137 + sag
        cover = 1 - smoothstep(np.abs(rail), 0.0042, 0.0048)
        return mix(colour, _cylinder(rail, 0.0045, 0.42), cover), np.maximum(alpha, cover)

    return Texture([painted(extent, texels_of(extent, density), paint)], *extent)
