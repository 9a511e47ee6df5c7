"""Ablation tables: each arm against the base, with a word only where a difference can be told apart."""
from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ablations.claims import judge
from ablations.result import write_result
from ablations.study import Arm, Claim, Data, Study
from reports.material import Material, collect
from reports.table import Table
from reports.tables import NotHere, tables
from reports.write import records_csv, to_csv, to_markdown
from tests.reports.runs import make_run, value_of

CLIPS = [f"source{index}" for index in range(8)]
MEANS = {"full": 0.2, "no_global": 0.3, "no_pos": 0.2, "bicubic": 0.4}


def value(variant: str, clip: str, metric: str) -> float:
    """Between variants and sources, known differences; noise is a hundred times smaller."""
    offset = 1 if metric == "seam" else 20 if metric == "psnr" else 0
    return offset + MEANS[variant.partition(":")[0]] + 0.01 * len(clip) + 0.001 * value_of(variant, clip, metric)


def run(root: Path, variants: list[str], **options) -> Path:
    return make_run(root, variants, options.pop("clips", CLIPS), ["psnr", "lpips", "seam", "seconds"], value=value,
                    **options)  # fmt: skip


def made(material: Material, name: str = "differences") -> list[Table]:
    return tables.get(name)(material)


def study(root: Path, arms: dict[str, list[str]]) -> Path:
    """A study's folder, as `ablations.run` leaves it."""
    asked = Study(
        name="mine", title="Mine", question="Why?", base="full", baselines=("bicubic",), training="equal", notes=(),
        arms=tuple(Arm(label=label, variant=texts[0]) for label, texts in arms.items()),
        claims=(Claim(arm="blind", against="full", metric="lpips", expect="worse"),),
        data=(Data(label="x", options={}),), metrics=("psnr", "lpips", "seam"),
    )  # fmt: skip
    texts = [text for found in arms.values() for text in found]
    where = run(root / "x", [*texts, "bicubic"])
    by_arm = {label: {clip: value(found[0], clip, "lpips") for clip in CLIPS} for label, found in arms.items()}
    findings = judge(asked.claims, {"x": {"lpips": by_arm}})
    write_result(root, asked, arms, [], {"x": where}, findings, {}, "python -m ablations.run mine")
    return root


def test_an_arm_is_compared_with_the_base_in_words(tmp_path: Path) -> None:
    material = collect([study(tmp_path, {"full": ["full"], "blind": ["no_global"], "lost": ["no_pos"]})])
    (table,) = made(material)
    assert table.name == "mine-differences" and [row.label for row in table.rows] == ["blind", "lost"]
    blind, lost = table.rows
    assert {key: entry.verdict for key, entry in blind.entries.items()} == {
        "psnr": "better", "lpips": "worse", "seam": "worse"
    }  # fmt: skip
    entry = blind.entries["lpips"]
    assert entry.value == pytest.approx(0.1, abs=2e-3) and entry.n == 8
    assert entry.low is not None and entry.high is not None and entry.low < entry.value < entry.high
    assert not any(entry.verdict for entry in lost.entries.values())
    assert "+0.1" in to_markdown(table) and "worse" in to_markdown(table) and "Holm over 6 comparisons" in table.caption
    (first, _) = csv.DictReader(to_csv(table).splitlines())
    assert first["lpips_verdict"] == "worse" and first["lpips_n"] == "8"


def test_differences_and_claims_lead_to_the_records_of_both_sides(tmp_path: Path) -> None:
    material = collect([study(tmp_path, {"full": ["full"], "blind": ["no_global"]})])
    claim = "blind worse than full in lpips"
    for name, row, column in (("differences", "blind", "lpips"), ("claims", claim, "difference")):
        (table,) = made(material, name)
        records = list(csv.DictReader(records_csv(table, tmp_path).splitlines()))
        behind = [one for one in records if one[table.first] == row and one["column"] == column]
        assert sorted(one["of"] for one in behind) == ["full"] * 8 + ["no_global"] * 8
        assert all((tmp_path / one["record"]).is_file() for one in behind)
        sides = [[float(one["value"]) for one in behind if one["of"] == of] for of in ("no_global", "full")]
        shown = next(one for one in table.rows if one.label == row).entries[column].value
        assert sum(sides[0]) / 8 - sum(sides[1]) / 8 == pytest.approx(shown)


def test_seeds_of_training_stand_for_their_mean(tmp_path: Path) -> None:
    texts = ["no_global:adapter_weights=0", "no_global:adapter_weights=1"]
    material = collect([study(tmp_path, {"full": ["full"], "blind": texts})])
    (table,) = made(material)
    each = [value(text, clip, "psnr") for text in texts for clip in CLIPS]
    base = [value("full", clip, "psnr") for clip in CLIPS]
    assert table.rows[0].entries["psnr"].value == pytest.approx(sum(each) / 16 - sum(base) / 8)


def test_without_a_study_the_arms_of_the_papers_are_found(tmp_path: Path) -> None:
    (table,) = made(collect([run(tmp_path / "1", ["bicubic", "full", "no_global"])]))
    assert table.name == "components-differences" and [row.label for row in table.rows] == ["no_global"]
    with pytest.raises(NotHere, match="no runs have the base and another arm"):
        made(collect([run(tmp_path / "2", ["bicubic", "full"])]))


def test_one_source_and_gaps_tell_nothing_apart(tmp_path: Path) -> None:
    (table,) = made(collect([run(tmp_path / "1", ["full", "no_global"], clips=["a"])]))
    entry = table.rows[0].entries["lpips"]
    assert (entry.verdict, entry.low, entry.high) == ("", None, None)
    assert "One source gives no interval" in table.caption
    gaps = run(tmp_path / "2", ["full", "no_global", "no_pos"], skip=[("full", CLIPS[0]), ("no_global", CLIPS[0])])
    (table,) = made(collect([gaps], ["incomplete"]))
    assert all(entry.value is None for row in table.rows for entry in row.entries.values())
