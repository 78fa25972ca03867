"""One line for a request that Hydra cannot compose: what is wrong with it, and the nearest right one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from omegaconf import OmegaConf

from pathsynth.commands.quoting import hydra_quoted
from pathsynth.config.parse import RENAMED
from pathsynth.config.shipped import conf_folder, own_folder, studies_folder
from pathsynth.data.medmnist_sets import known_flags
from pathsynth.vocabulary.spelling import nearest_hint


def explain(error: BaseException, command: str) -> str:
    """What Hydra, its parser or OmegaConf say, in one line with a remedy."""
    text = str(error)
    choice = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if choice:
        group, wrong = choice.groups()
        options = choices(group)
        if group == "data" and wrong.lower() in known_flags():
            return f"no choice '{wrong}' for data; a set of MedMNIST is data=medmnist data.flag={wrong.lower()}"
        return f"no choice '{wrong}' for {group}{nearest_hint(wrong, options)}; choices: {', '.join(options) or 'none'}"
    key = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", text)
    if key:
        full = re.search(r"full_key: (\S+)", text)
        wrong = full[1] if full else key[1] or key[2]
        if wrong in RENAMED:
            return f"no key '{wrong}' in {command}; it is {RENAMED[wrong]}"
        return f"no key '{wrong}' in {command}{nearest_hint(wrong, known_keys(command))}"
    added = re.search(r"Could not append to config. An item is already at '([^']+)'", text)
    if added:
        return f"{added[1]} has a value already, so nothing can be added there; leave out the plus: {added[1]}=…"
    several = re.search(r"Ambiguous value for argument '(.+?)'\n", text, re.DOTALL)
    if several:
        return f"{several[1]} names several values; add -m for one trial each, or write [a,b] for a list"
    override = getattr(error, "override", None)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    if line.startswith("Error merging override") and error.__cause__:
        line = f"{line.removeprefix('Error merging override ')}: {str(error.__cause__).splitlines()[0]}; correct it"
    return f"{override} cannot be read as Hydra's grammar; type it quoted: {_quoted(str(override))}" if override else line


def _quoted(override: str) -> str:
    """An override whose value is one quoted string, as it is typed in a shell."""
    key, equals, value = override.partition("=")
    return shlex.quote(f"{key}{equals}{hydra_quoted(value)}")


def choices(group: str) -> list[str]:
    """The options of a configuration group."""
    if group.startswith("hydra/"):
        return _options_of_hydra(group)
    folders = [root / group for root in (conf_folder(), studies_folder(), own_folder()) if root]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def _options_of_hydra(group: str) -> list[str]:
    """The options of a group of Hydra's own, its plugins' among them."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        loader = Hydra.create_main_hydra2("pathsynth", create_config_search_path(str(conf_folder()))).config_loader
        return sorted(loader.get_group_options(group))
    finally:
        GlobalHydra.instance().clear()


def known_keys(command: str) -> list[str]:
    """The keys of a command, with the defaults chosen; a group is the key of its settings."""
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import initialize_config_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose(command)
    return sorted(_flat(OmegaConf.to_container(config, resolve=False)))


def _flat(values: object, prefix: str = "") -> Iterable[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _flat(value, f"{prefix}{key}.")


def is_composition_fault(error: BaseException) -> bool:
    """Whether an error comes from composing the request, not from carrying it out."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (HydraException, OmegaConfBaseException))
