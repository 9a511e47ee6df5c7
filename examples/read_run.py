"""Read a run with pandas: `python examples/read_run.py runs/bench`."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd


def main(run: Path) -> None:
    """Print the means of each variant over all clips, what lacks a value, and PSNR by clip."""
    records = pd.read_csv(run / "records.csv")
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    print(f"{described['suite']} on {described['device']} in {described['dtype']}, seed {described['seed']}\n")

    lacking = records[records.status != "ok"]
    if len(lacking):  # nothing is averaged over what is left
        print("without a value:", *sorted(set(lacking.metric + " of " + lacking.variant)), sep="\n- ")
    whole = records.groupby(["metric", "variant"]).filter(lambda rows: (rows.status == "ok").all())
    assert (whole.groupby("metric").identity.nunique() == 1).all(), "a metric was made in two ways"
    print(whole.pivot_table(index="variant", columns="metric", values="value", sort=False).round(3).to_string())

    psnr = whole[whole.metric == "psnr"]
    if len(psnr):
        print("\nPSNR by clip:")
        print(psnr.pivot(index="clip", columns="variant", values="value").round(2).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
