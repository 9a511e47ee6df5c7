"""What a report is made of: studies by file or folder, and files of counted cost."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from patchvsr.errors import UserError
from reports.material import collect
from reports.table import Table
from reports.tables import tables
from reports.write import to_csv
from tests.reports.runs import make_run
from tests.reports.test_differences import study

HEAD = "variant,base,frame,frames,steps,part,tiles,tflop\n"
ROWS = "full,nano,64x64,17,4,dit,3,2.5\nfull,nano,64x64,17,4,codec,3,1\nfast,nano,64x64,17,1,dit,3,0.5\n"


def counted(run: Path, *costs: Path) -> list[Table]:
    return [one for one in tables.get("efficiency")(collect([run], costs=costs)) if one.name.startswith("tflop")]


def test_a_file_of_costs_beside_a_run_is_taken_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "cost.csv").write_text(HEAD + ROWS)
    for table in (*counted(run), *counted(run, run / "cost.csv")):
        full, fast = table.rows
        assert {key: one.value for key, one in full.entries.items()} == {"dit": 2.5, "codec": 1, "all": 3.5}
        assert "codec" not in fast.entries and fast.entries["all"].value == 0.5  # a part that it lacks is no zero
        assert "fast,,measured,0.5,,,,,,,,0.5,,," in to_csv(table)


def test_bases_have_tables_of_their_own_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    run, one, other = make_run(tmp_path / "run"), tmp_path / "1.csv", tmp_path / "2.csv"
    one.write_text(HEAD + ROWS)
    other.write_text(HEAD + ROWS.replace("nano", "wan"))
    assert ["nano" in table.caption for table in counted(run, one, other)] == [True, False]
    shutil.copy(one, other)
    with pytest.raises(UserError, match="'dit' of 'full' on nano at 64x64, 17 frames, twice"):
        counted(run, one, other)


@pytest.mark.parametrize("value", ["", "nan", "much"])
def test_costs_are_numbers(tmp_path: Path, value: str) -> None:
    path = tmp_path / "cost.csv"
    path.write_text(f"{HEAD}full,nano,64x64,17,4,dit,3,{value}\n")
    with pytest.raises(UserError, match="of 'full', which is no number"):
        collect([make_run(tmp_path / "run")], costs=[path])


def test_a_study_is_named_by_its_folder_or_its_file(tmp_path: Path) -> None:
    made = study(tmp_path / "mine", {"full": ["full"], "blind": ["no_global"]})
    for path in (made, made / "study.json"):
        material = collect([path])
        assert [one.name for one in material.studies] == ["mine"] and material.label("no_global") == "blind"
    with pytest.raises(UserError, match="cannot be read"):
        collect([tmp_path / "study.json"])
