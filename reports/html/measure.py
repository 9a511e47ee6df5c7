"""`python -m reports.html.measure`: how fast a large report opens, and how smoothly it scrolls, in headless Chromium.

Two reports are made of noise, as PNG: 600 clips of 3 variants, and 30 clips of 30 variants. Of the first the list of
clips and a clip's page are opened, each in a new browser with an empty cache; of the second the list is scrolled from
end to end, down and then across, 40 pixels for each frame of the screen. Needs selenium, Chromium and chromedriver.
"""
from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchvsr.errors import UserError

WIDTH, HEIGHT, FRAMES = 320, 180, 3
METRICS = ("psnr", "lpips", "seam", "seconds")
OPENED = """
const [page] = performance.getEntriesByType("navigation");
const painted = performance.getEntriesByName("first-contentful-paint");
return [page.loadEventEnd, painted.length ? painted[0].startTime : null,
        [...document.images].filter(image => image.complete && image.naturalWidth).length];
"""
SCROLLED = """
const done = arguments[0];
const box = document.querySelector(".clips");
const steps = [];
const ends = [["scrollTop", box.scrollHeight - box.clientHeight], ["scrollLeft", box.scrollWidth - box.clientWidth]];
let last = null;
function step(now) {
  if (last !== null) steps.push(now - last);
  last = now;
  while (ends.length && box[ends[0][0]] >= ends[0][1] - 1) ends.shift();
  if (!ends.length) return done(steps);
  box[ends[0][0]] += 40;
  requestAnimationFrame(step);
}
requestAnimationFrame(step);
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    described = (__doc__ or "").partition(": ")[2]
    made = argparse.ArgumentParser(prog="python -m reports.html.measure", description=described)
    made.add_argument("--clips", type=int, default=600, help="of the report that is opened (default: 600)")
    made.add_argument("--grid", type=int, default=30, help="clips, and variants, of the other one (default: 30)")
    return made


def made_report(out: Path, clips: int, variants: int) -> Path:
    """A report of noise, without ground truth; gives its folder."""
    from benchmarks.metrics import metrics
    from benchmarks.store import Output, Score
    from reports.evidence import Evidence
    from reports.html.build import build_html
    from reports.runs import Item, Run

    run = out.with_name(f"{out.name}-run")
    _draw(run / "frames", min(clips * variants, 40))
    names = [f"variant{index:02}" for index in range(variants)]
    sizes = {"output": [HEIGHT, WIDTH], "lq": [HEIGHT // 4, WIDTH // 4]}
    facts = {**sizes, "frames": FRAMES, "scale": 4.0, "caption": None}
    items = []
    for at in range(clips * variants):
        scores = {
            name: Score(metric=name, identity=f"{name} of noise", unit=metrics.get(name)().unit, status="ok",
                        value=1.0 + at % 97 / 100, per_frame=[1.0, 1.1, 1.2])
            for name in METRICS
        }  # fmt: skip
        output = Output(path=f"frames/{at % 40}", width=WIDTH, height=HEIGHT, frames=FRAMES, sha256="")
        items.append(
            Item(run=run, hash=f"{at:064}", key={"clip": facts}, clip=f"clip{at // variants:04}",
                 variant=names[at % variants], seed=0, weights="trained", status="ok", message=None, measured={},
                 scores=scores, output=output, cuts={"rows": [90], "columns": [160], "frames": []})
        )  # fmt: skip
        items[-1].record.parent.mkdir(exist_ok=True)
        items[-1].record.write_text("{}\n")
    where = {"device": "cpu", "cpu": "none", "torch_threads": 1}
    description = {"environment": where, "dtype": "float32", "argv": [], "seed": 0, "clips": [], "variants": []}
    (run / "run.json").write_text("{}\n")
    clip_names = [f"clip{index:04}" for index in range(clips)]
    identities = {name: f"{name} of noise" for name in METRICS}
    evidence = Evidence([Run(path=run, description=description, setting="noise", suite_clips=clip_names,
                             metrics=identities, items=items)])  # fmt: skip
    return build_html(evidence, [], [], out, "python -m reports.html.measure").parent


def _draw(folder: Path, count: int) -> None:
    """As many clips of noise as keep an image cache from helping; items share them."""
    import numpy as np

    from reports.html.media import write_png

    drawn = np.random.default_rng(0)
    for clip in range(count):
        for frame in range(FRAMES):
            noise = drawn.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            write_png(noise, folder / str(clip) / f"{frame:08}.png")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser with a fresh profile.

    Raises:
        UserError: there is none, or nothing to drive it with.
    """
    try:
        from selenium import webdriver
    except ModuleNotFoundError as error:
        raise UserError("selenium drives the browser: pip install selenium") from error
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if program is None or driver is None:
        raise UserError("Chromium is not installed: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        quiet = ("disable-background-networking", "disable-component-update", "disable-sync", "no-first-run")
        for word in ("headless", "no-sandbox", "disable-gpu", *quiet, "window-size=1400,1000"):
            options.add_argument(f"--{word}")
        options.add_argument(f"--user-data-dir={profile}")
        made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield made
        finally:
            made.quit()


def opened(page: Path) -> str:
    """How long a page takes to open in a new browser."""
    with chromium() as driver:
        driver.get("about:blank")
        driver.get(page.as_uri())
        loaded, painted, images = driver.execute_script(OPENED)
    first = "not painted" if painted is None else f"first paint {painted:.0f} ms"
    return f"loaded {loaded:.0f} ms, {first}, {images} images there by then"


def scrolled(page: Path) -> str:
    """How evenly a list of clips scrolls."""
    with chromium() as driver:
        driver.set_script_timeout(300)
        driver.get(page.as_uri())
        steps = sorted(driver.execute_async_script(SCROLLED))
    slow = sum(step > 50 for step in steps)
    half, most = (steps[len(steps) * share // 100] for share in (50, 99))
    return (
        f"{len(steps)} frames, median {half:.1f} ms, 99 % within {most:.1f} ms, longest {steps[-1]:.0f} ms, "
        f"{slow} over 50 ms"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for clips, variants in ((options.clips, 3), (options.grid, options.grid)):
                start = time.perf_counter()
                site = made_report(Path(folder) / f"{clips}x{variants}", clips, variants)
                size = f"{clips} clips x {variants} variants"
                print(f"{size}: built in {time.perf_counter() - start:.1f} s", flush=True)
                (overview,) = site.glob("clips/*.html")
                if clips == options.clips:
                    print(f"{size}: list of clips {opened(overview)}", flush=True)
                    print(f"{size}: first page {opened(site / 'index.html')}", flush=True)
                    print(f"{size}: a clip {opened(next(site.glob('clips/*/*.html')))}", flush=True)
                else:
                    print(f"{size}: {scrolled(overview)}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
