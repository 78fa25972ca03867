"""One line for a request that Hydra cannot compose: what is wrong with it, and the nearest right one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from omegaconf import OmegaConf

from pathsynth.commands.quoting import hydra_quoted
from pathsynth.config.parse import RENAMED
from pathsynth.config.shipped import conf_folder, studies_folder, user_folder
from pathsynth.data.medmnist_sets import known_flags
from pathsynth.hydra_internals import added_twice, group_options, merge_fault, swept_without_multirun, unknown_key, unknown_option
from pathsynth.vocabulary.spelling import nearest_hint


def explain(error: BaseException, command: str) -> str:
    """What Hydra, its parser or OmegaConf say, in one line with a remedy."""
    text = str(error)
    if option := unknown_option(text):
        group, wrong = option
        options = choices(group)
        if group == "data" and wrong.lower() in known_flags():
            return f"no choice '{wrong}' for data; a set of MedMNIST is data=medmnist data.flag={wrong.lower()}"
        return f"no choice '{wrong}' for {group}{nearest_hint(wrong, options)}; choices: {', '.join(options) or 'none'}"
    if key := unknown_key(text):
        hint = f"; it is {RENAMED[key]}" if key in RENAMED else nearest_hint(key, known_keys(command))
        return f"no key '{key}' in {command}{hint}"
    if key := added_twice(text):
        return f"{key} has a value already, so nothing can be added there; leave out the plus: {key}=…"
    if several := swept_without_multirun(text):
        return f"{several} names several values; add -m for one trial each, or write [a,b] for a list"
    override = getattr(error, "override", None)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    unmerged = merge_fault(line)
    if unmerged and error.__cause__:
        line = f"{unmerged}: {str(error.__cause__).splitlines()[0]}; correct it"
    return f"{override} cannot be read as Hydra's grammar; type it quoted: {_quoted(str(override))}" if override else line


def _quoted(override: str) -> str:
    """An override whose value is one quoted string, as it is typed in a shell."""
    key, equals, value = override.partition("=")
    return shlex.quote(f"{key}{equals}{hydra_quoted(value)}")


def choices(group: str) -> list[str]:
    """The options of a configuration group."""
    if group.startswith("hydra/"):
        return group_options(conf_folder(), group)
    folders = [root / group for root in (conf_folder(), studies_folder(), user_folder()) if root]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def known_keys(command: str) -> list[str]:
    """The keys of a command, with the defaults chosen; a group is the key of its settings."""
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import initialize_config_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose(command)
    return sorted(_key_paths(OmegaConf.to_container(config, resolve=False)))


def _key_paths(values: object, prefix: str = "") -> Iterable[str]:
    """Every group and key of nested settings, as a dotted path."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _key_paths(value, f"{prefix}{key}.")


def is_composition_fault(error: BaseException) -> bool:
    """Whether an error comes from composing the request, not from carrying it out."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (HydraException, OmegaConfBaseException))
