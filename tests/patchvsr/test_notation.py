"""How variants and baselines are written."""
from __future__ import annotations

import pytest

from patchvsr.errors import UserError
from patchvsr.notation import ARGUMENT, split_list, split_name
from patchvsr.variants import resolve


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("folder:runs/a b/x.y", {ARGUMENT: "runs/a b/x.y"}),
        ('folder:"runs/a=b,c"', {ARGUMENT: "runs/a=b,c"}),
        ("folder:out/steps=2,pattern={clip}_x4.mp4", {ARGUMENT: "out/steps=2", "pattern": "{clip}_x4.mp4"}),
        ('command:"a --in {input}, b=c",timeout=5', {ARGUMENT: "a --in {input}, b=c", "timeout": "5"}),
        (r'command:"sh -c \"a \\ b\""', {ARGUMENT: r'sh -c "a \ b"'}),
        ('sd:prompt="sharp, clean",steps=2', {"prompt": "sharp, clean", "steps": "2"}),
        ("full: steps = 2 , shift=1", {"steps": "2", "shift": "1"}),
    ],
)
def test_arguments_and_quotes(text: str, overrides: dict[str, str]) -> None:
    assert split_name(text) == (text.partition(":")[0], overrides)


def test_lists_keep_what_is_in_quotes_together() -> None:
    parts = ["full:steps=2,tile=64", 'command:"a, b=c {input}",timeout=5', "folder:x/y", 'sd:prompt="p, q"', "bicubic"]
    assert split_list(",".join(parts)) == parts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('command:"a {input}', "double quotes in .* do not close"),
        ("full:steps=2,steps=4", "'steps' of 'full' is given twice"),
        ("folder:a,b", "override 'b' of 'folder' is not key=value"),
        ("folder:pattern={clip},b", "override 'b' of 'folder' is not key=value"),
        (":a", "names no variant"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        split_name(text)


def test_variants_take_no_argument() -> None:
    with pytest.raises(UserError, match="override 'fast' of 'full' is not key=value"):
        resolve("full:fast")
