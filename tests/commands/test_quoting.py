from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pathsynth.commands.quoting import choose_custom_options, quote_free_text
from pathsynth.config.shipped import conf_folder

ARGUMENT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
AWKWARD = st.text(st.sampled_from("\\'\"${}&,()[]=:;! \n\tµé a.x"), max_size=12)


def read_back(argument: str) -> object:
    """What Hydra's grammar makes of an override, resolved as OmegaConf does."""
    override = OverridesParser.create().parse_override(argument)
    config = OmegaConf.create({"prompt": None})
    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return OmegaConf.to_container(config, resolve=True)["prompt"]


def quoted(text: str) -> bool:
    return len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""


@settings(max_examples=300, deadline=None)
@given(ARGUMENT | AWKWARD)
@example("H&E, it's (fat); 100% \\ ${seed} é")
@example("\\")
@example("a\\\\")
@example("${")
@example("\\${oc.env:HOME}\\")
@example("'a' and 'b'")
@example("\\'")
@example("null")
@example("12")
@example("")
@example(" two  spaces ")
@example("???")
def test_what_is_typed_is_what_is_composed(text):
    if quoted(text) and text[0] not in text[1:-1]:
        return  # quoted already: Hydra's own grammar decides, see below
    (argument,) = quote_free_text([f"prompt={text}"], multirun=False)
    assert read_back(argument) == text


@pytest.mark.parametrize("typed, meant", [("'H&E, fat'", "H&E, fat"), ('"it\'s fat"', "it's fat"), (r"'it\'s fat'", "it's fat")])
def test_what_is_quoted_already_is_left_alone(typed, meant):
    (argument,) = quote_free_text([f"prompt={typed}"], multirun=False)
    assert argument == f"prompt={typed}"
    assert read_back(argument) == meant


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_prefixes_of_hydra_are_kept(prefix):
    assert quote_free_text([f"{prefix}prompt=a, b"], multirun=False) == [f"{prefix}prompt='a, b'"]


def test_other_arguments_are_left_alone():
    arguments = ["lora.rank=1,16", "-m", "study=demo", "n=4", "generate.promptly=x"]
    assert quote_free_text(arguments, multirun=True) == arguments


def test_labels_are_a_list_unless_they_are_swept():
    assert quote_free_text(["labels=adipose,mucus"], multirun=False) == ["labels=[adipose,mucus]"]
    assert quote_free_text(["labels=adipose,mucus"], multirun=True) == ["labels=adipose,mucus"]
    assert quote_free_text(["labels=[adipose,mucus]"], multirun=False) == ["labels=[adipose,mucus]"]


@pytest.mark.parametrize("text", ["H&E: cancer-associated stroma (dense), it's pale; ${x} \\ é", "${seed}"])
def test_the_whole_composition_keeps_the_prompt(text):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("generate", quote_free_text([f"prompt={text}"], multirun=False))
    assert OmegaConf.to_container(config, resolve=True)["prompt"] == text


OURS = "pathsynth.training.classifier_module.ClassifierModule"


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["gate._target_=my.Gate", "lora.rank=2"], ["classifier@gate=own_gate"]),
        (["+judge._target_=my.A,my.B"], ["classifier@judge=own_judge"]),
        (["classifier._target_=my.Gate", "data._target_=my.Data"], ["data=own", "classifier=own_gate"]),
        (["classifier@gate=mine", "gate._target_=my.Gate"], []),
        ([f"gate._target_={OURS}", "callbacks.mine._target_=my.Callback", "data=folder"], []),
    ],
)
def test_a_class_of_the_users_stands_on_the_option_that_has_no_argument_of_ours(arguments, added):
    assert choose_custom_options(arguments) == [*added, *arguments]


@pytest.mark.parametrize("pattern", [r"regex:(slide\d+)_", r"regex:^[^/]+/(?P<patient>\w+),", "csv:my groups, all (1).csv"])
def test_a_pattern_of_groups_is_quoted(pattern):
    (override,) = quote_free_text([f"data.group={pattern}"], multirun=True)
    assert OverridesParser.create().parse_override(override).value() == pattern
    assert quote_free_text([override, "data.group=null"], multirun=True) == [override, "data.group=null"]
