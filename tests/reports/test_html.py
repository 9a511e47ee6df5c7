"""The report as HTML: whole, safe against what names contain, true to the run, and plain about what is not there."""
from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from patchvsr.errors import UserError
from reports.build import main
from reports.evidence import gather
from reports.html import build_html
from reports.html.build import shown_names
from reports.html.media import Slices, evenly, positions, take, write_preview
from reports.html.pictures import Limits
from reports.html.sheets import number
from tests.reports.html_site import (
    CLIPS,
    COMMAND,
    FRAMES,
    LABEL,
    VARIANTS,
    change,
    clip_page,
    item_of,
    make_run,
    make_site,
)


class Page(HTMLParser):
    """What a browser without scripts makes of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.data: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.addresses += [str(found[name]) for name in ("href", "src") if name in found]
        self.ids += [str(found["id"])] if "id" in found else []
        if tag not in ("meta", "link", "img", "input", "br"):
            self._open.append((tag, str(found.get("id"))))
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, name = self._open[-1]
            self.texts[tag][-1] += data
            if tag == "script":
                self.data[name] = self.data.get(name, "") + data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def site(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(run, tmp_path_factory.mktemp("out") / "site")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run once more, to be damaged; its clips stay where they are."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def build(run: Path, out: Path, **limits: int) -> Path:
    return build_html(gather([run]), [], [], out, COMMAND, Limits(**limits)).parent


def test_every_address_leads_to_a_file_of_the_report(site: Path) -> None:
    pages = [Page(path) for path in site.rglob("*.html")]
    assert len(pages) == 3 + 1 + len(CLIPS) + len(VARIANTS)
    for page in pages:
        for address in page.addresses:
            if address == "data:,":
                continue
            assert not re.match(r"[a-z]+:|//", address), f"{page.path} loads {address}"
            file, _, fragment = address.partition("#")
            target = page.path if not file else (page.path.parent / unquote(file)).resolve()
            assert target.is_file(), f"{page.path.relative_to(site)}: {address}"
            assert site.resolve() in target.resolve().parents
            assert not fragment or fragment.startswith("show=") or fragment in Page(target).ids
    css = [path.read_text() for path in (site / "assets").glob("*.css")]
    assert css and not any("url(" in text or "@import" in text for text in css)


def test_names_are_text_whatever_they_contain(site: Path) -> None:
    page = Page(clip_page(site))
    assert page.texts["h1"] == [CLIPS[0]]
    assert page.tags["script"] == 1 + 5 + 2  # the theme's, the page's, and data
    assert Page(clip_page(site, CLIPS[1])).texts["title"][0].startswith(CLIPS[1])
    (overview,) = (site / "clips").glob("*.html")
    assert json.loads(Page(overview).data["clips-data"])["clips"] == list(CLIPS)
    index = Page(site / "index.html")
    assert LABEL in "".join(index.texts["th"]) and index.tags["img"] == 1 and index.tags["i"] == 0
    assert COMMAND in index.texts["pre"]
    assert any("A <plain> one" in text for text in index.texts["b"])


def test_tables_can_be_read_without_scripts(site: Path, run: Path) -> None:
    text = (site / "index.html").read_text()
    shown = re.findall(r"<td[^>]*>(?:<a [^>]*>)?([^<]+)", text)
    evidence = gather([run])
    means = [evidence.cell(evidence.settings[0], "bicubic", name).mean for name in ("ssim", "ssim_y")]
    assert shown[:2] == [f"{mean:.2f}" for mean in means]
    assert shown[8:10] == ["0.995", "-"] and "not &lt;in&gt; their paper" in text
    assert text.index("reported by their authors") > text.index("lanczos")
    assert "2 records of bicubic" in text and "[" in Page(site / "index.html").texts["small"][0]
    assert Page(site / "tables.html").tags["table"] == 2


def test_frames_are_the_runs_own(site: Path, run: Path) -> None:
    data = json.loads(Page(clip_page(site)).data["clip-data"])
    assert [picture["name"] for picture in data["pictures"]] == ["input", "ground truth", *VARIANTS]
    assert data["shown"] == [0, 1, 2] and data["pictures"][2]["cuts"]["columns"] == [20]
    folders = {"input": run.parent / "lq" / CLIPS[0], "ground truth": run.parent / "gt" / CLIPS[0]}
    for picture in data["pictures"]:
        folder = folders.get(picture["name"]) or item_of(gather([run]), picture["name"]).frames
        for address, original in zip(picture["frames"], sorted(folder.glob("*.png")), strict=True):
            assert np.array_equal(np.asarray(Image.open(site / address)), np.asarray(Image.open(original)))


def test_slices_show_one_line_of_every_frame(site: Path) -> None:
    data = json.loads(Page(clip_page(site)).data["clip-data"])
    assert data["at"] == {"rows": [5, 10, 16, 21, 26], "columns": [8, 16, 24, 32, 40]}
    for picture in data["pictures"]:
        frames = [np.asarray(Image.open(site / address)) for address in picture["frames"]]
        if picture["kind"] == "input":  # enlarged by repeating
            frames = [frame.repeat(2, axis=0).repeat(2, axis=1) for frame in frames]
        rows, columns = (np.asarray(Image.open(site / picture[axis])) for axis in ("rows", "columns"))
        assert rows.shape == (5 * FRAMES, 48, 3) and columns.shape == (5 * FRAMES, 32, 3)
        for time, frame in enumerate(frames):
            assert np.array_equal(rows[2 * FRAMES + time], frame[16])
            assert np.array_equal(columns[4 * FRAMES + time], frame[:, 40])


def test_provenance_tells_how_the_numbers_were_made(site: Path, run: Path) -> None:
    page = Page(site / "provenance.html")
    said = "\n".join(page.texts["pre"])
    assert COMMAND in said and "python -m benchmarks.run --lq" in said and "kernel: " in said
    assert any(text.startswith("ssim v1 |") for text in page.texts["td"])
    assert (site / "records" / "runs" / "1.json").read_bytes() == (run / "run.json").read_bytes()
    assert {path.name for path in site.glob("records/items/*.json")} == {p.name for p in run.glob("items/*.json")}


def test_a_clip_that_changed_since_is_not_shown_beside_old_outputs(run: Path, tmp_path: Path) -> None:
    elsewhere = make_run(tmp_path / "made")
    for path in (tmp_path / "made" / "gt" / CLIPS[0]).glob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path)) // 2).save(path)
    for path in (tmp_path / "made" / "lq" / CLIPS[0]).glob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path)) // 2).save(path)
    page = clip_page(build(elsewhere, tmp_path / "site")).read_text()
    assert "not those of the run any more" in page and "ground truth</b>" not in page and "bicubic</b>" in page


def test_clips_that_are_gone_are_said_to_be(copy: Path, tmp_path: Path) -> None:
    description = json.loads((copy / "run.json").read_text())
    description["config"] = description["config"].replace("/lq", "/nowhere")
    (copy / "run.json").write_text(json.dumps(description))
    page = clip_page(build(copy, tmp_path / "site")).read_text()
    assert "Input and ground truth are not shown:" in page and "nowhere" in page


@pytest.mark.parametrize("fault", ["gone", "one gone", "damaged", "another size", "huge"])
def test_missing_and_broken_frames_are_said_and_the_rest_is_shown(
    fault: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = item_of(gather([copy])).frames
    assert folder is not None
    frames = sorted(folder.glob("*.png"))
    if fault == "gone":
        folder.rename(tmp_path / "away")
    elif fault == "one gone":
        frames[1].unlink()
    elif fault == "damaged":
        frames[0].write_bytes(frames[0].read_bytes()[:60])
    elif fault == "another size":
        Image.new("RGB", (9, 9)).save(frames[0])
    else:
        Image.new("RGB", (900, 900)).save(frames[0])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32)
    said = {
        "gone": "its frames are no longer in the run directory",
        "one gone": "2 of its 3 frames are in the run directory",
        "damaged": "00000000.png cannot be read",
        "another size": "00000000.png is 9x9, not 48x32",
        "huge": "00000000.png cannot be read (Image size (810000 pixels)",
    }[fault]
    page = Page(clip_page(build(copy, tmp_path / "site")))
    assert any(text.startswith(f"no picture: {said}") for text in page.texts["span"])
    data = json.loads(page.data["clip-data"])
    assert {p["name"]: len(p["frames"]) for p in data["pictures"]} == {
        "input": 3, "ground truth": 3, "bicubic": 0, "lanczos": 3,
    }  # fmt: skip


def test_limits_are_said_on_the_page(run: Path, tmp_path: Path) -> None:
    site = build(run, tmp_path / "site", frames=2, slices=0)
    text = clip_page(site).read_text()
    assert "3 frames, of which 2 are shown here" in text and "Position and time" not in text
    assert len(list(site.glob("media/*/*/bicubic/0*.png"))) == 2 * len(CLIPS)
    assert not list(site.rglob("rows.png"))
    with pytest.raises(UserError, match="0 frames"):
        Limits(frames=0)


def test_a_folder_of_something_else_is_left_alone_and_an_earlier_report_replaced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds something else than a report"):
        build(run, tmp_path / "mine")
    site = build(run, tmp_path / "site")
    (site / "old.html").write_text("x")
    with monkeypatch.context() as patch:
        patch.setattr("reports.html.build.Site.write", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full", "f")))
        with pytest.raises(UserError, match=r"cannot be written to 'f' \(disk full\)"):
            build(run, site)
    assert (site / "old.html").exists() and (site / "index.html").exists()
    build(run, site)
    assert not (site / "old.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


def test_reservations_are_on_every_page(copy: Path, tmp_path: Path) -> None:
    for record in (copy / "items").glob("*.json"):
        change(record, weights="untrained")
    evidence = gather([copy], ["untrained", "incomplete"])
    site = build_html(evidence, [], [], tmp_path / "site", COMMAND).parent
    for path in site.rglob("*.html"):
        assert "The weights of 'bicubic' and 'lanczos' were never trained." in Page(path).texts["li"]


def test_a_title_and_labels_are_on_the_pages_whose_addresses_stay(run: Path, site: Path, tmp_path: Path) -> None:
    labels = {"lanczos": "ours <3"}
    named = build_html(gather([run]), [], [], tmp_path / "site", COMMAND, title="Our & study", labels=labels).parent
    pages = sorted(path.relative_to(named) for path in named.rglob("*.html"))
    assert pages == sorted(path.relative_to(site) for path in site.rglob("*.html"))
    for path in pages:
        assert Page(named / path).texts["title"][0].endswith("Our & study")
    (overview,) = (named / "clips").glob("*.html")
    assert Page(overview).texts["th"][1:3] == ["bicubic", "ours <3"]
    assert "ours <3" in json.loads(Page(overview).data["clips-data"])["variants"]
    assert [one["name"] for one in json.loads(Page(clip_page(named)).data["clip-data"])["pictures"]][2:] == [
        "bicubic", "ours <3"]  # fmt: skip
    (records,) = named.glob("records/*/lanczos.html")
    assert Page(records).texts["h1"] == ["Records of ours <3"] and Page(records).texts["code"] == ["lanczos"]


def test_labels_that_two_variants_would_share_name_the_variant_too(run: Path) -> None:
    evidence = gather([run])
    assert shown_names(evidence, {"lanczos": "bicubic"}) == {"bicubic": "bicubic", "lanczos": "bicubic (lanczos)"}
    assert shown_names(evidence, {"lanczos": "input"}) == {"bicubic": "bicubic", "lanczos": "input (lanczos)"}
    both = {"lanczos": "cheap", "bicubic": "cheap"}
    assert shown_names(evidence, both) == {"bicubic": "cheap (bicubic)", "lanczos": "cheap (lanczos)"}


def test_an_empty_run_is_refused(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (copy / "items").glob("*.json"):
        record.unlink()
    assert main([str(copy), "--out", str(tmp_path / "report")]) == 2
    assert "has no finished item of its last plan; complete the run" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_the_same_run_gives_the_same_bytes(run: Path, site: Path, tmp_path: Path) -> None:
    again = make_site(run, tmp_path / "site")
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}


def test_evenly_takes_both_ends() -> None:
    assert evenly(3, 8) == [0, 1, 2] and evenly(100, 4) == [0, 33, 66, 99] and evenly(9, 1) == [0]


def test_slices_of_a_side_shorter_than_their_number() -> None:
    assert positions(1) == [0] and positions(3) == [0, 1, 2]
    slices = Slices(1, 3)
    slices.add(np.zeros((1, 3, 3), np.uint8))


def test_taking_reads_no_further_than_needed() -> None:
    read: list[int] = []

    def frames():
        for index in range(100):
            read.append(index)
            yield np.full((2, 2, 3), index, np.uint8)

    assert [int(frame[0, 0, 0]) for frame in take(frames(), [0, 4], Slices(2, 2), 7)] == [0, 4]
    assert read == list(range(7))


def test_previews_of_any_shape(tmp_path: Path) -> None:
    assert write_preview(np.zeros((2, 4000, 3), np.uint8), tmp_path / "a.jpg") == (240, 1)
    assert write_preview(np.zeros((5, 7, 3), np.uint8), tmp_path / "b.jpg") == (7, 5)


def test_numbers_have_four_digits() -> None:
    assert [number(v) for v in (25.3012, 0.02, 1234.6, None)] == ["25.30", "0.02000", "1235", "–"]
