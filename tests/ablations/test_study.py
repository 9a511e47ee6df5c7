"""Studies as files: what they say, and what is refused."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations.study import find_study, read_study, studies
from patchvsr.errors import UserError

STUDY: dict[str, Any] = {
    "title": "T",
    "question": "Q?",
    "base": "full",
    "arms": ["full", "no_global"],
    "training": "equal",
    "data": [{"suite": "golden"}],
    "metrics": ["lpips", "seam"],
    "claims": [{"arm": "no_global", "metric": "lpips", "expect": "worse"}],
}


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "mine.yaml"
    data = {key: value for key, value in (STUDY | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def test_an_installed_package_adds_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path)
    (tmp_path / "lab_of_x.py").write_text(f"from pathlib import Path\nMINE = Path({str(file)!r})\n")
    about = tmp_path / "lab_of_x-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-of-x\nVersion: 1.0\n")
    points = "[patchvsr.studies]\nlab_x = lab_of_x:MINE\nlab_y = lab_of_x:OTHER\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(studies, "_entries", dict(studies._entries))
    monkeypatch.setattr(studies, "_scanned", False)
    assert {"lab_x", "components"} <= set(studies.names())
    assert find_study("lab_x") == file and read_study(file).title == "T"
    with pytest.raises(UserError, match=r"studies 'lab_y' \(lab_of_x:OTHER\) cannot be loaded"):
        find_study("lab_y")


@pytest.mark.parametrize("name", studies.names())
def test_every_study_can_be_read_and_has_what_a_reader_needs(name: str) -> None:
    study = read_study(studies.get(name))
    assert study.title and study.question.endswith("?") and study.claims and study.base in study.labels
    assert len({arm.variant for arm in study.arms}) == len(study.arms)


def test_the_studies_of_the_paper_are_there() -> None:
    assert {"components", "modulation", "position", "context", "tiling", "steps", "scale"} <= set(studies.names())
    components = read_study(studies.get("components"))
    assert {"no_global", "no_lora", "no_pos", "no_fixed_prompt", "no_patch", "no_diffusion"} < set(components.labels)


def test_an_axis_and_a_grid_give_the_base_and_every_combination(tmp_path: Path) -> None:
    axis = read_study(written(tmp_path, arms=None, axis={"steps": [1, 2]}, claims=[]))
    assert axis.labels == ["full", "full:steps=1", "full:steps=2"]
    grid = {"tile": [192, 256], "modulation": ["joint", "average"]}
    found = read_study(written(tmp_path, arms=None, grid=grid, claims=[], labels={"full": "own"}, base="full"))
    assert found.labels[0] == found.base == "own"  # tile 0 is nano's own 256: another spec, another text
    assert "full:tile=192,modulation=average" in found.labels and len(found.arms) == 5


def test_arms_are_spelt_as_records_spell_them(tmp_path: Path) -> None:
    found = read_study(written(tmp_path, arms=["full", "full:steps=1, tile=192"], claims=[]))
    assert found.arms[1].variant == "full:steps=1,tile=192"


def test_a_path_and_a_name_find_a_study(tmp_path: Path) -> None:
    assert find_study(str(written(tmp_path))) == tmp_path / "mine.yaml"
    assert find_study("steps").name == "steps.yaml"
    with pytest.raises(UserError, match="unknown study 'stepz'; did you mean 'steps'"):
        find_study("stepz")
    with pytest.raises(UserError, match="there is no study file 'absent.yaml'"):
        find_study("absent.yaml")


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"titel": "x"}, "unknown key 'titel'; did you mean 'title'"),
        ({"title": None}, "the key 'title' is missing"),
        ({"arms": 3}, "'arms' is 3, which is of the wrong kind"),
        ({"axis": {"steps": [1]}}, "one of the keys arms, axis and grid"),
        ({"arms": None, "axis": {"steps": [1], "tile": [1]}}, "'axis' names one field"),
        ({"arms": None, "axis": {"steps": 3}}, "'steps' needs a list of values"),
        ({"arms": ["full", "no_globl"]}, "the arm 'no_globl' is not possible .*put it under skip"),
        ({"arms": ["full", "shifted:steps=1"]}, "the arm 'shifted:steps=1' is not possible"),
        ({"skip": ["average"]}, "skip names 'average', which is no arm"),
        ({"labels": {"average": "a"}}, "labels names 'average', which is no arm"),
        ({"labels": {"full": "no_global"}}, "stands for two arms"),
        ({"base": "average"}, "the base 'average' is no arm"),
        ({"training": "some"}, "training is 'some'; write equal"),
        ({"claims": [{"arm": "no_global"}]}, "needs arm, metric and expect"),
        ({"claims": [{"arm": "x", "metric": "lpips", "expect": "worse"}]}, "names the arm 'x', which"),
        ({"claims": [{"arm": "full", "metric": "psnr", "expect": "worse"}]}, "about 'psnr', which the study"),
        ({"claims": [{"arm": "full", "metric": "lpips", "expect": "wurse"}]}, "expects 'wurse'; did you mean 'worse'"),
        ({"claims": [{"arm": "full", "metric": "lpips", "expect": "equivalent"}]}, "needs a margin above 0"),
        ({"claims": [{"arm": "full", "metric": "lpips", "expect": "worse", "margin": 1}]}, "needs a margin above 0"),
        ({"claims": [{"arm": "full", "metric": "lpips", "expect": "worse", "p": 1}]}, "the unknown key 'p'"),
        ({"data": [{"suit": "4k"}]}, "data has the unknown key 'suit'; did you mean 'suite'"),
        ({"data": ["4k"]}, "must be a mapping"),
        ({"data": [{"frames": 1}]}, "needs a suite, an lq, or a gt"),
        ({"data": [{"suite": "golden", "clips": [9]}]}, "names of clips, numbers in quotes"),
        ({"data": [{"suite": "golden"}, {"suite": "golden", "frames": 1}]}, "two entries of data are called 'golden'"),
        ({"arms": ["full", {"a": 1}]}, "stands where one variant belongs"),
        ({"arms": {"full": "full", "again": "full"}}, "the variant 'full' stands for two arms"),
        ({"baselines": ["bicubic", "bicubic"]}, "the baseline 'bicubic' is there twice"),
        ({"baselines": ["full"]}, "the baseline 'full' is there twice"),
        ({"claims": [{"arm": 0.5, "metric": "lpips", "expect": "worse"}]}, "names the arm '0.5'"),
        ({"claims": [{"arm": "full", "metric": "lpips", "expect": "worse"}]}, "compares 'full' with itself"),
        ({"claims": [{"arm": "no_global", "metric": "lpips", "expect": "not_worse", "margin": "x"}]}, "not a number"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_file(tmp_path: Path, changes: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as error:
        read_study(written(tmp_path, **changes))
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        read_study(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("- a")
    with pytest.raises(UserError, match="must be a mapping with the keys"):
        read_study(tmp_path / "mine.yaml")
