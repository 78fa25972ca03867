"""What MkDocs does beside rendering: references made from the program, and pages and files of the repository that lie outside docs/.

Nothing that is made here is kept, so nothing can be stale: keys come from the schema and conf/, commands from their own help, metrics and
words from the glossary, the form of ``result.json`` from its schema.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from omegaconf import OmegaConf

from pathsynth.__main__ import CONFIG_COMMANDS, FILE_COMMANDS, dispatch
from pathsynth.config.meanings import SWEEPER, key_fields, key_meaning
from pathsynth.config.schema import GenerateConfig, RunConfig
from pathsynth.report.glossary import Term, load_glossary, metric_terms

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reference/files.md": "multirun/README.md",
    "reference/bundle.md": "pathsynth/assets/tissue/README.md",
    "reference/base.md": "pathsynth/assets/tiny/README.md",
    "experiments/index.md": "experiments/README.md",
    **{f"experiments/{path.name}": f"experiments/{path.name}" for path in ROOT.glob("experiments/*.md") if path.stem != "README"},
}
"""Pages of the site that lie elsewhere in the repository."""
MADE_OF = {"pathsynth/report/glossary.yaml": "reference/metrics.md", "pathsynth/ledger/result.schema.json": "reference/result.md"}
"""What a reference is made of; links to it lead to the reference."""
SOURCES = "files/"
"""Where the site holds a copy of each other file of the repository that a page links to."""
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_ROLES = {"gate": ("resnet18", "own_gate"), "judge": ("cs3darknet", "own_judge")}
"""Groups that are composed of the group classifier, and its options that are meant for each."""
_FEW_OPTIONS = 4
"""Options of a group that are named beside a value; of more, all that have it are "others"."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages made here, those of elsewhere in the repository, and what they show or link to."""
    for place, text in references().items():
        files.append(File.generated(config, place, content=text))
    for place, source in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    sources = {repository_path(file.src_uri) for file in files.documentation_pages() if not is_made(file.src_uri)}
    for source in sorted({target for page in sources for target in linked_files(page)}):
        files.append(File.generated(config, SOURCES + source, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to the site's own pages and copies."""
    place = page.file.src_uri
    return markdown if is_made(place) else site_links(markdown, place)


def references() -> dict[str, str]:
    """The pages that are made from the program, by their place in the site."""
    return {
        "reference/commands.md": commands_page(),
        "reference/config.md": config_page(),
        "reference/metrics.md": metrics_page(),
        "reference/glossary.md": glossary_page(),
        "reference/result.md": result_page(),
    }


# links


def is_made(place: str) -> bool:
    """Whether a page of the site has no file in the repository."""
    return place.startswith("reference/") and place not in PAGES


def repository_path(place: str) -> str:
    """Where the text of a page of the site lies."""
    return PAGES.get(place, f"docs/{place}")


def site_path(source: str) -> str | None:
    """Where the site has a file of the repository; None: nowhere, as it is a folder."""
    pages = {**MADE_OF, **{text: place for place, text in PAGES.items()}}
    if source in pages:
        return pages[source]
    if source.startswith("docs/") and not (ROOT / source).is_dir():
        return source.removeprefix("docs/")
    return SOURCES + source if (ROOT / source).is_file() else None


def linked_files(source: str) -> Iterator[str]:
    """The files outside docs/, other than pages, that a page of the repository links to."""
    for _, target, _ in _LINK.findall(_CODE.sub("", (ROOT / source).read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
            if (site_path(path) or "").startswith(SOURCES):
                yield path


def site_links(markdown: str, place: str) -> str:
    """The text of a page with its links as they are in the site; a folder is named without a link."""
    source = repository_path(place)

    def led(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = site_path(path)
        if found is None:
            return text.strip("[]") if (ROOT / path).is_dir() else link[0]
        return f"{text}({posixpath.relpath(found, posixpath.dirname(place) or '.')}{anchor or ''})"

    return "".join(part if part.startswith("`") else _LINK.sub(led, part) for part in _CODE.split(markdown))


# references


COMMANDS = """\
# Commands

Exit status: 0 done, 1 something failed, 2 the request was wrong (nothing was written), 130 interrupted.

## Config commands

Hydra applications: they take `key=value`, `-m` (a sweep), `--cfg job` (what would run), `--info`, `--help` and so on.
The keys: [configuration keys](config.md).
"""
KEYS = """\
# Configuration keys

`key=value` on the command line of a [config command](commands.md) sets a key; `group=option` chooses what a group begins with.
Where a default differs between options, the options are named. `pathsynth init <folder>` copies all of them, to change them.

## All groups
"""
METRICS = """\
# Metrics

The names in the records of [result.json](result.md), in the order of the glossary. Who scores what, and at which stage:
[how a set is scored](../explanation/evaluation.md). What an interval guarantees: [validity](../explanation/validity.md#intervals).
"""


def commands_page() -> str:
    """Config commands by the groups that they read, file commands by their own help."""
    rows = ([f"`pathsynth {name}`", meaning, groups(name)] for name, meaning in CONFIG_COMMANDS.items())
    lines = [COMMANDS, *table(("command", "what it does", "groups"), rows), "", "## File commands", "", "They take paths and flags.", ""]
    for name, (meaning, _) in FILE_COMMANDS.items():
        lines += [f"### {name}", "", meaning, "", "```text", file_help(name), "```", ""]
    return "\n".join(lines)


def groups(command: str) -> str:
    """The config groups that a command composes."""
    named = [*_defaults("shared"), *_defaults(command)]
    return ", ".join(f"`{name}`" for name in dict.fromkeys(named))


def _defaults(name: str) -> Iterator[str]:
    for entry in OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / f"{name}.yaml"))["defaults"]:
        if isinstance(entry, dict) and not (group := next(iter(entry))).startswith("override "):
            yield group.rpartition("@")[2]


def file_help(name: str) -> str:
    """What a file command prints for ``--help``, at a width that a page can show."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "96"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            dispatch([name, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {"COLUMNS": before} if before is not None else {}
    return printed.getvalue().strip("\n")


def config_page() -> str:
    """Every key that can be set: type, default and meaning, by group."""
    lines = [KEYS, *key_table(key for key in key_fields() if key in ("seed", "multirun"))]
    for group in (key for key, (model, _, field) in key_fields().items() if model is RunConfig and field.annotation not in (int, str)):
        keys = group_keys(group)
        lines += ["", f"## {group}", "", key_meaning(group), "", *options(group)]
        lines += key_table(keys) if keys else shipped_files(group)
    lines += ["", f"## {SWEEPER}", "", "With `hydra/sweeper=optuna`: a search instead of a grid ([how to](../how-to/search.md)).", ""]
    lines += key_table(group_keys(SWEEPER))
    return "\n".join(lines) + "\n"


def group_keys(group: str) -> list[str]:
    """The keys of a group as they are typed: those of generate without its name."""
    if group == "generate":
        return [key for key, (model, _, _) in key_fields().items() if model is GenerateConfig]
    return [key for key in key_fields() if key.startswith(f"{group}.")]


def options(group: str) -> list[str]:
    """What the group can begin with, and the first words of each option's file."""
    found, chosen = _option_files(group), f"@{group}" if group in _ROLES else ""
    rows = ([f"`{path.parent.relative_to(ROOT / 'conf').as_posix()}{chosen}={path.stem}`", _comment(path)] for path in found)
    return [*table(("option", "what it is"), rows), ""] if len(found) > 1 else []


def shipped_files(group: str) -> list[str]:
    """The files of a group whose keys are the arguments of a class, as they are."""
    lines = ["Its keys are the arguments of the class that `_target_` names."]
    for path in _option_files(group):
        lines += ["", "```yaml", path.read_text(encoding="utf-8").strip(), "```"]
    return lines


def key_table(keys: Iterable[str]) -> list[str]:
    rows = ([f"`{key}`", key_type(key), default_words(key), cell(key_meaning(key))] for key in keys)
    return table(("key", "type", "default", "meaning"), rows)


def key_type(key: str) -> str:
    return "name of a class" if key.endswith("._target_") else type_words(key_fields()[key][2].annotation)


def type_words(annotation: Any) -> str:
    """A type as people say it."""
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    if annotation in words:
        return words[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" if isinstance(value, str) else f"`{str(value).lower()}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(kind) for kind in inner))
    return {tuple: "list", list: "list", dict: "settings"}.get(origin, "settings")


def default_words(key: str) -> str:
    """The value that each option of the group gives, else the schema's."""
    _, _, field = key_fields()[key]
    shipped = shipped_values(key)
    if not shipped:
        return value_words("???" if field.is_required() else field.get_default(call_default_factory=True))
    by_value: dict[str, list[str]] = {}
    for option, value in shipped.items():
        by_value.setdefault(value_words(value), []).append(option)
    if len(by_value) == 1:
        return next(iter(by_value))
    named = [f"{value} ({', '.join(names) if len(names) <= _FEW_OPTIONS else 'others'})" for value, names in by_value.items()]
    return "; ".join(named)


def shipped_values(key: str) -> Mapping[str, Any]:
    """By option, what the files of conf/ set a key to; debug options, which change what others set, are left out."""
    found: dict[str, Any] = {}
    for path in (*sorted(ROOT.glob("conf/*.yaml")), *sorted(ROOT.glob("conf/*/*.yaml")), ROOT / "conf/hydra/sweeper/optuna.yaml"):
        if (path.parent.name != "debug" or path.stem == "none") and key in (values := _flat(path)):
            found[path.stem] = values[key]
    if len({value_words(value) for value in found.values()}) > 1:
        found.pop("data_keys", None)
    meant = _ROLES.get(key.partition(".")[0], found)
    return {name: value for name, value in found.items() if name in meant}


@cache
def _flat(path: Path) -> Mapping[str, Any]:
    """The keys that a file of conf/ sets, as they are typed, with their values."""
    text = path.read_text(encoding="utf-8")
    values = {key: value for key, value in _typed(path).items() if key not in ("defaults", "hydra", "command")}
    if path.stem == "data_keys":
        values = {"data": values}
    elif path.parent.name == "sweeper":
        return {f"{SWEEPER}.{key}": value for key, value in values.items()}
    elif path.parent.name == "classifier":
        inherited = {**_inherited(path), **values}
        values = {role: dict(inherited) for role in (*_ROLES, "classifier")}
    elif path.parent.name != "conf" and "@package _global_" not in text:
        values = {path.parent.name: values}
    nested = ((group, inner) for group, inner in values.items() if isinstance(inner, dict))
    return {**values, **{f"{group}.{key}": value for group, inner in nested for key, value in inner.items()}}


def _typed(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _inherited(path: Path) -> dict[str, Any]:
    """What an option of the group classifier takes from the files in its defaults list."""
    values: dict[str, Any] = {}
    for entry in _typed(path).get("defaults", ()):
        if entry != "_self_":
            folder = path.parents[1] if entry.startswith("/") else path.parent
            parent = folder / f"{entry.removeprefix('/').partition('@')[0]}.yaml"
            values |= {**_inherited(parent), **_typed(parent)}
    return {key: value for key, value in values.items() if key != "defaults"}


def value_words(value: Any) -> str:
    """As YAML has it."""
    if value is None or isinstance(value, bool):
        return f"`{json.dumps(value)}`"
    if value == "???":
        return "must be set"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, (dict, list, tuple)):
        return f"`{json.dumps(value)}`"
    return f"`{value}`" if value != "" else "empty"


def _option_files(group: str) -> list[Path]:
    if group in _ROLES:
        return [ROOT / "conf" / "classifier" / f"{name}.yaml" for name in _ROLES[group]]
    return sorted((ROOT / "conf" / group).rglob("*.yaml")) if group != "study" else []


def _comment(path: Path) -> str:
    """The first sentence of the comment that a file begins with."""
    lines = [line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ") and "@package" not in line]
    return cell(re.split(r"(?<=[.])\s", " ".join(lines))[0])


def metrics_page() -> str:
    heads = ("metric", "what it is", "range", "better", "95% interval", "source")
    return "\n".join([METRICS, *table(heads, (metric_row(term) for term in metric_terms()))]) + "\n"


def metric_row(term: Term) -> list[str]:
    name = f"`{term.key}`<br>{term.name}"
    return [name, cell(term.text), range_words(term), term.better or "it depends", term.interval or "none", term.source]


def range_words(term: Term) -> str:
    """From least to most, with the unit."""
    low, high = ("" if end is None else f"{end:g}" for end in (term.low, term.high))
    ends = f"{low} to {high}" if low and high else f"{low} or more" if low else "any"
    return f"{ends}, {term.unit}" if term.unit else ends


def glossary_page() -> str:
    lines = ["# Glossary", "", "The words of the pages and of this documentation. Metrics have [a page of their own](metrics.md).", ""]
    for term in sorted((t for t in load_glossary().values() if t.kind == "term"), key=lambda t: t.name.lower()):
        lines += [f"## {term.name}", "", term.text + (f" ({term.source})" if term.source else ""), ""]
    return "\n".join(lines)


def result_page() -> str:
    """The form of ``result.json``, field by field."""
    schema = json.loads((ROOT / "pathsynth" / "ledger" / "result.schema.json").read_text(encoding="utf-8"))
    lines = ["# result.json", "", schema["title"][0].upper() + schema["title"][1:] + ". " + schema["description"], ""]
    lines += table(("field", "type", "meaning"), schema_rows(schema, ""))
    return "\n".join([*lines, "", "The names of metrics: [metrics](metrics.md)."]) + "\n"


def schema_rows(schema: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    """A row for each field, those of records in lists and mappings included."""
    for name, field in schema.get("properties", {}).items():
        yield [f"`{prefix}{name}`", schema_type(field), cell(field["description"])]
        yield from schema_rows(field, f"{prefix}{name}.")
        yield from schema_rows(field.get("items", {}), f"{prefix}{name}[].")
        other = field.get("additionalProperties")
        if isinstance(other, Mapping):
            yield from schema_rows(other, f"{prefix}{name}.*.")


def schema_type(field: Mapping[str, Any]) -> str:
    if "const" in field:
        return f"always {field['const']}"
    if "enum" in field:
        return ", ".join(json.dumps(value) for value in field["enum"])
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    words = {"object": "record", "array": "list", "string": "text", "number": "number", "integer": "whole number", "null": "null"}
    return " or ".join(words[kind] for kind in kinds)


def table(heads: tuple[str, ...], rows: Iterable[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]


def cell(text: str) -> str:
    """Words as they may stand in a table; what looks like a tag of HTML is none."""
    plain = (part if part.startswith("`") else part.replace("<", "&lt;") for part in _CODE.split(text))
    return "".join(plain).replace("|", "\\|")
