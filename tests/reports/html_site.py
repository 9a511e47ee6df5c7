"""A report of a small real run, with names that try to break pages."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import run
from benchmarks.suites import derived
from patchvsr.video import write_png_folder
from reports.evidence import Evidence, gather
from reports.figures import Saved
from reports.html import build_html
from reports.runs import Item
from reports.table import Column, Entry, Row, Table
from tests.benchmarks.replicas import lowered, picture

CLIPS = ("""<b>&"x'""", "<script><!--")
VARIANTS = ("bicubic", "lanczos")
FRAMES = 3
LABEL = "</script><img src=nowhere.png onerror=alert(1)>"
COMMAND = "python -m reports.build RUN --label '<i>'"


def make_run(folder: Path) -> Path:
    """Two clips of 3 frames, 24x16 to 48x32, through bicubic and Lanczos; gives the run directory."""
    for seed, name in enumerate(CLIPS):
        high = picture(FRAMES, 32, 48, seed)
        write_png_folder(high, folder / "gt" / name)
        write_png_folder(lowered(high, 2), folder / "lq" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHVSR_CACHE", str(folder / "cache"))
        derived._is_whole.cache_clear()
        words = ["--lq", str(folder / "lq"), "--gt", str(folder / "gt"), "--variants", ",".join(VARIANTS)]
        words += ["--metrics", "ssim,ssim_y,grid,seconds", "--out", str(folder / "run")]
        assert run.main([*words, "--no-mlflow", "--progress", "quiet"]) == 0
    for record in (folder / "run" / "items").glob("*.json"):
        change(record, cuts={"rows": [8, 24], "columns": [20], "frames": [2]})
    return folder / "run"


def change(record: Path, **values: object) -> None:
    """Change a record on the disk."""
    record.write_text(json.dumps(json.loads(record.read_text()) | values))


def item_of(evidence: Evidence, variant: str = VARIANTS[0], clip: str = CLIPS[0]) -> Item:
    """One item of the run."""
    return evidence.items(evidence.settings[0], variant)[clip]


def table_of(evidence: Evidence) -> Table:
    """A table of means, with a row of somebody else's."""
    setting = evidence.settings[0]
    columns = [
        Column(key=name, heading=name, unit=evidence.unit(setting, name), direction=evidence.direction(name), digits=2)
        for name in evidence.metrics(setting)
    ]
    rows = []
    for variant in VARIANTS:
        cells = {name: evidence.cell(setting, variant, name) for name in evidence.metrics(setting)}
        entries = {
            name: Entry(
                value=cell.mean, low=cell.low, high=cell.high, mark="best" if variant == "lanczos" else "",
                items=[item for items in cell.items.values() for item in items],
            )
            for name, cell in cells.items()
        }  # fmt: skip
        rows.append(Row(label=variant, entries=entries))
    entries = {"ssim": Entry(value=0.995, printed="0.995"), "ssim_y": Entry(missing="not <in> their paper")}
    rows.append(Row(label=LABEL, status="reported", entries=entries))
    return Table(name="means", title="Means", caption="On <few> clips.", columns=columns, rows=rows, notes=["So & so."])


def figure_in(folder: Path) -> Saved:
    """A saved figure."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "teal").save(folder / "plain.png")
    (folder / "plain.pdf").write_bytes(b"%PDF-1.4\n")
    return Saved(name="plain", title="A <plain> one", caption="Teal.", png=folder / "plain.png",
                 pdf=folder / "plain.pdf")  # fmt: skip


def make_site(run_directory: Path, out: Path) -> Path:
    """The report of a run; gives its folder."""
    evidence = gather([run_directory])
    figure = figure_in(out.parent / "saved")
    title = "A title long enough to be wider than a telephone: what overlap and the size of tiles buy"
    tables = [table_of(evidence), table_of(evidence)]
    return build_html(evidence, tables, [figure], out, COMMAND, title=title).parent


def clip_page(site: Path, clip: str = CLIPS[0]) -> Path:
    """The page of a clip."""
    from benchmarks.plan import slug

    (page,) = site.glob(f"clips/*/{slug(clip)}.html")
    return page
