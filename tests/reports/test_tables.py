"""Tables: marks only where they can be told, the same digits in every format, and links to records."""
from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from patchvsr.errors import UserError
from reports.evidence import gather
from reports.marks import marks
from reports.material import Material, collect
from reports.table import Column, Entry, Row, Table
from reports.tables import NotHere, tables
from reports.write import groups, latex, to_csv, to_latex, to_markdown, write_table
from tests.reports.runs import make_run, value_of

SETTING = "made x4 bicubic"
CLIPS = [f"source{index}" for index in range(8)]


def shifted(by: dict[str, float]):
    """Values that differ between variants by known amounts, nearly the same on every clip."""
    return lambda v, c, m: by[v] + 0.001 * value_of(v, c, m)


def test_the_best_is_marked_only_where_it_can_be_told_apart(tmp_path: Path) -> None:
    clear = gather([make_run(tmp_path / "1", ["a", "b", "c"], CLIPS, value=shifted({"a": 1, "b": 2, "c": 3}))])
    variants = ["a", "b", "c"]
    assert marks(clear, SETTING, "lpips", variants) == {"a": "best", "b": "second"}
    assert marks(clear, SETTING, "psnr", variants) == {"c": "best", "b": "second"}
    assert marks(clear, SETTING, "seam", variants) == {"a": "best", "b": "second"}  # 1 is nearest to 1
    assert marks(clear, SETTING, "seconds", variants) == {}
    tied = gather([make_run(tmp_path / "2", ["a", "b", "c"], CLIPS, value=shifted({"a": 1, "b": 1, "c": 3}))])
    assert marks(tied, SETTING, "lpips", variants) == {"b": "second"} or "best" not in marks(
        tied, SETTING, "lpips", variants
    ).values()
    one = gather([make_run(tmp_path / "3", ["a", "b"], ["x"], value=shifted({"a": 1, "b": 2}))])
    assert marks(one, SETTING, "lpips", ["a", "b"]) == {}
    unknown = gather([make_run(tmp_path / "4", ["a", "b"], CLIPS, ["unheard_of"], value=shifted({"a": 1, "b": 2}))])
    assert marks(unknown, SETTING, "unheard_of", ["a", "b"]) == {}


def made(tmp_path: Path, name: str = "quantitative", **options) -> list[Table]:
    return tables.get(name)(collect([make_run(tmp_path / "run", **options)]))


def test_the_quantitative_table_says_what_it_stands_on(tmp_path: Path) -> None:
    (table,) = made(tmp_path, clips=("x__1", "x__2", "y__1"))
    assert [column.key for column in table.columns] == ["psnr", "lpips", "seam"]
    assert "3 clips of made x4 bicubic, means over 2 sources; float32, seed 0" in table.caption
    assert "psnr v1 [" in table.caption
    (shots,) = made(tmp_path / "4", clips=("x__1", "x__2"))
    assert "Clips of one source give no interval, so nothing is marked." in shots.caption
    (costs,) = made(tmp_path / "5", "efficiency")
    assert "Bold" not in costs.caption
    (alone,) = made(tmp_path / "2", clips=("x",))
    assert "One clip gives no interval, so nothing is marked." in alone.caption
    (unknown,) = made(tmp_path / "3", names=("psnr", "unheard_of"))
    assert any("unheard_of" in note and "nothing is marked" in note for note in unknown.notes)
    assert "unheard\\_of |" in to_markdown(unknown) and "unheard\\_of ↑" not in to_markdown(unknown)


def test_the_same_digits_stand_in_markdown_and_latex_and_come_from_the_records(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["bicubic", "full", "no_pos"], CLIPS)
    material = collect([run])
    (table,) = tables.get("quantitative")(material)
    numbers = r"-?\d+\.\d+"
    body = [line for line in to_latex(table).splitlines() if line.endswith(r"\\") and "&" in line][1:]
    in_latex = [re.findall(numbers, line) for line in body]
    rows = [line for line in to_markdown(table).splitlines() if line.startswith("| ")][2:]
    assert in_latex == [re.findall(numbers, line) for line in rows]
    folder = tmp_path / "out"
    folder.mkdir()
    write_table(table, folder, folder)
    with (folder / "quantitative.records.csv").open() as file:
        records = list(csv.DictReader(file))
    for row, printed in zip(table.rows, in_latex, strict=True):
        for column, text in zip(table.columns, printed, strict=True):
            behind = [one for one in records if one["variant"] == row.label and one["column"] == column.key]
            assert f"{sum(float(one['value']) for one in behind) / len(behind):.{column.digits}f}" == text
            assert all((folder / one["record"]).resolve().is_file() for one in behind) and len(behind) == len(CLIPS)


def test_csv_keeps_every_digit_and_the_interval(tmp_path: Path) -> None:
    (table,) = made(tmp_path)
    (first, *_) = csv.DictReader(to_csv(table).splitlines())
    entry = table.rows[0].entries["psnr"]
    assert [float(first[key]) for key in ("psnr", "psnr_low", "psnr_high")] == [entry.value, entry.low, entry.high]


def test_gaps_are_dashes_and_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", skip=[("full", "b")])
    material = collect([run], ["incomplete"])
    (table,) = tables.get("quantitative")(material)
    assert table.rows[1].entries["psnr"].missing == "b: not run"
    text = to_markdown(table)
    assert "| full | - | - | - |" in text and "has gaps" in text and "has gaps" in to_latex(table)


def test_reported_rows_are_set_apart_and_printed_as_in_the_paper(tmp_path: Path) -> None:
    found = {table.name: table for table in made(tmp_path, "reported")}
    ablation = next(table for name, table in found.items() if "ablation" in name)
    assert all(row.status == "reported" for row in ablation.rows)
    assert groups(ablation)[0][0].startswith("reported") and "*reported*" in to_markdown(ablation)
    assert r"\emph{reported}" in to_latex(ablation)
    comparison = next(table for name, table in found.items() if "quantitative" in name)
    assert "0.520" in to_latex(comparison)  # with its last digit


def test_scale_and_efficiency_tables(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"x{scale}", scale=scale) for scale in (2, 4)]
    material = collect(runs)
    names = [table.name for table in tables.get("scale")(material)]
    assert names == ["scale-psnr", "scale-lpips", "scale-seam", "scale-seconds"]
    first, second = tables.get("efficiency")(material)
    assert [column.key for column in first.columns] == ["seconds"]
    assert "a processor (1 thread), float32" in first.notes[0] and len(second.rows) == 2
    with pytest.raises(NotHere, match="only one setting"):
        tables.get("scale")(collect(runs[:1]))
    with pytest.raises(NotHere, match="no folder of a study"):
        tables.get("studies")(material)


def test_counted_cost_is_a_table_by_part(tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"
    head = "variant,base,frame,frames,steps,part,tiles,tflop\n"
    path.write_text(f"{head}full,b,64x64,17,4,dit,3,2.5\nfull,b,64x64,17,4,codec,3,1\n")
    material = collect([make_run(tmp_path / "run")], costs=[path])
    table = tables.get("efficiency")(material)[-1]
    assert {key: entry.value for key, entry in table.rows[0].entries.items()} == {"dit": 2.5, "codec": 1, "all": 3.5}
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="has not the columns"):
        collect([make_run(tmp_path / "run2")], costs=[path])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a_b & 50 % #1 $x$ {y} ~z^ \\w <v> |u| \"t\"", None),
        ("no_global", r"no\_global"),
        ("café ± →", r"café $\pm$ $\rightarrow$"),
        ("漢 [*]", "(U+6F22) {[}{*}{]}"),
        ("ﬁne", "fine"),
    ],
)
def test_latex_sees_no_command_in_a_name(text: str, expected: str | None) -> None:
    written = latex(text)
    if expected is not None:
        assert written == expected
    bare = re.sub(r"\\[A-Za-z]+(\{\})?|\\[&%$#_{}]|\$\\[a-z]+\$|\{[][*]\}", "", written)
    assert not set(bare) & set("&%$#_{}~^\\<>|\"")


def test_markdown_sees_no_markup_in_a_name() -> None:
    table = Table(
        name="t", title="a|b", caption="*c*", columns=[Column(key="x", heading="<x>")],
        rows=[Row(label="a|_b_", entries={"x": Entry(value=1.0, mark="best")})],
    )  # fmt: skip
    assert "| a\\|\\_b\\_ | **1.000** |" in to_markdown(table) and "\\<x\\>" in to_markdown(table)


def test_a_label_of_no_variant_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(UserError, match="--label names 'ful', which no run has"):
        collect([run], labels={"ful": "ours"})
    material = collect([run], labels={"full": "ours & yours"})
    assert isinstance(material, Material) and r"ours \& yours" in to_latex(tables.get("quantitative")(material)[0])
