"""What the random degradation draws from: frozen data with RealBasicVSR's published values as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass

from patchvsr.degradation.draws import Chances, Varying
from patchvsr.degradation.filters import Method
from patchvsr.degradation.kernels import Kind

_KERNELS: Chances[Kind] = (
    ("iso", 0.405),
    ("aniso", 0.225),
    ("generalized_iso", 0.108),
    ("generalized_aniso", 0.027),
    ("plateau_iso", 0.108),
    ("plateau_aniso", 0.027),
    ("sinc", 0.1),
)
METHODS: Chances[Method] = (("bilinear", 1 / 3), ("area", 1 / 3), ("bicubic", 1 / 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """A random blur.

    Attributes:
        probability: of any blur at all.
        kernels: families and their probabilities.
        sizes: taps along each axis, all equally probable.
        sigma: standard deviation along either axis, in pixels.
        angle: of an anisotropic kernel's axes, in radians.
        beta_generalized, beta_plateau: shapes of these families.
        cutoff: of the sinc, in radians per pixel; None for pi / 3 to pi under 13 taps, else pi / 5 to pi.
        cutoff_step: the sinc's change from frame to frame.
    """

    probability: float = 1.0
    kernels: Chances[Kind] = _KERNELS
    sizes: tuple[int, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
    sigma: Varying = Varying(0.2, 3, 0.02)
    angle: Varying = Varying(-math.pi, math.pi, math.pi / 10)
    beta_generalized: Varying = Varying(0.5, 4, 0.05)
    beta_plateau: Varying = Varying(1, 2, 0.1)
    cutoff: tuple[float, float] | None = None
    cutoff_step: float = 0.0628


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """A random resize.

    Attributes:
        up, down, keep: probabilities of starting larger, smaller or at the same size.
        factor: range of the factor, and its step from frame to frame.
        methods: ways to resize and their probabilities.
    """

    up: float
    down: float
    keep: float
    factor: Varying
    methods: Chances[Method] = METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Random noise.

    Attributes:
        gaussian: probability of Gaussian noise; it is Poisson noise else.
        sigma: of Gaussian noise, in steps of 8 bit.
        strength: of Poisson noise.
        grey: probability that all channels get the same.
    """

    gaussian: float = 0.5
    sigma: Varying
    strength: Varying
    grey: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """Random video compression.

    Attributes:
        codecs: FFmpeg's names of encoders and their probabilities.
        bits: least and most bits per frame, for a high-resolution frame of `pixels`.
        pixels: the bits grow with the frame's area in proportion to this one, the published training crop's.
    """

    codecs: Chances[str] = (("libx264", 1 / 3), ("libx265", 1 / 3), ("mpeg4", 1 / 3))
    bits: tuple[int, int] = (10_000, 100_000)
    pixels: int = 256 * 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of the degradation: blur, resize, noise, JPEG, video compression.

    Attributes:
        quality: of JPEG, on libjpeg's scale.
    """

    blur: Blur
    resize: Resize
    noise: Noise
    quality: Varying = Varying(30, 95, 3)
    video: Video = Video()


FIRST = Order(
    blur=Blur(),
    resize=Resize(up=0.2, down=0.7, keep=0.1, factor=Varying(0.15, 1.5, 0.015)),
    noise=Noise(sigma=Varying(1, 30, 0.1), strength=Varying(0.05, 3, 0.005)),
)
SECOND = Order(
    blur=Blur(probability=0.8, sigma=Varying(0.2, 1.5, 0.02)),
    resize=Resize(up=0.3, down=0.4, keep=0.3, factor=Varying(0.3, 1.2, 0.03)),
    noise=Noise(sigma=Varying(1, 25, 0.1), strength=Varying(0.05, 2.5, 0.005)),
)
RINGING = Blur(probability=0.8, kernels=(("sinc", 1.0),), cutoff=(math.pi / 3, math.pi))
