from __future__ import annotations

import pytest

from patchvsr.errors import UserError
from patchvsr.notation import split_list, split_name
from patchvsr.variants import resolve, variant_names

TABLE = {
    "full": ("auxiliary", "joint", "global", "mask"),
    "average": ("auxiliary", "average", "global", "mask"),
    "gaussian": ("auxiliary", "gaussian", "global", "mask"),
    "no_modulation": ("disjoint", "independent", "global", "mask"),
    "shifted": ("shifted", "independent", "global", "mask"),
    "full_attention": ("full", "independent", "none", "none"),
    "no_global": ("auxiliary", "joint", "none", "crop"),
    "no_pos": ("auxiliary", "joint", "global", "none"),
}


@pytest.mark.parametrize("name", TABLE)
def test_named_variants_are_composed_as_the_method_says(name):
    spec = resolve(name)
    assert (spec.tiling, spec.modulation, spec.context, spec.position) == TABLE[name]


def test_every_named_variant_resolves():
    expected = {*TABLE, "no_lora", "no_patch", "no_fixed_prompt", "no_diffusion", "fast"}
    assert set(variant_names()) == expected
    for name in variant_names():
        assert resolve(name).name == name


def test_overrides_change_one_field_and_the_hash():
    plain, changed = resolve("full"), resolve("full:modulation=average,steps=3")
    assert changed.steps == 3 and changed.modulation == "average"
    assert plain.sha256() != changed.sha256()
    assert resolve("full:modulation=average").sha256() == resolve("average").sha256()


def test_variants_that_differ_only_at_inference_share_an_arm():
    assert resolve("shifted").arm == resolve("full").arm == resolve("full:steps=9").arm
    assert len({resolve(n).arm for n in ("full", "no_global", "no_pos", "no_lora", "no_patch", "no_fixed_prompt")}) == 6


def test_list_grammar_of_the_protocols():
    text = "full:modulation=average,steps=2,no_pos"
    assert split_list(text) == ["full:modulation=average,steps=2", "no_pos"]
    assert split_name("full:modulation=average,steps=2") == ("full", {"modulation": "average", "steps": "2"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ful", "unknown variant 'ful'; did you mean 'full'"),
        ("full:modulaton=average", "unknown override 'modulaton'.*did you mean 'modulation'"),
        ("full:modulation=averge", "unknown modulation 'averge'; did you mean 'average'"),
        ("full:steps=two", "steps=two must be a whole number"),
        ("full:steps=-1", "steps=-1 of 'full' must be at least 1"),
        ("shifted:steps=1", "steps=1 is too few for tiling=shifted"),
        ("full:context=none", "speaks through the context branch"),
        ("full:context=neighbourhood", "means nothing with context=neighbourhood"),
        ("full:tiling=full,modulation=independent", "sees the whole frame already"),
        ("full:tiling=disjoint", "joint"),
        ("full:frame_overlap=5", "must be below its 5 frames"),
        ("full:base=wan", "unknown base 'wan'"),
        ("full:steps", "is not key=value"),
    ],
)
def test_bad_variants_get_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ("steps=2,full", "follows no 'name:'"), ("full,full", "listed twice")],
)
def test_bad_lists_get_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        split_list(text)
