"""What a request's words mean before anything is drawn: the class it names, and what the text encoder cannot read. No torch."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from pathsynth.config import RunConfig
from pathsynth.sampling.request import requested_prompts
from pathsynth.stages.fingerprints import data_source
from pathsynth.stages.plan import Plan
from pathsynth.vocabulary.labels import COLORECTAL

_START_AND_END = 2
_CLIP_LENGTH = 77
_CLIP_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""How CLIP's tokenizer finds words (Radford et al. 2021)."""
_SHOWN = 12
_SHOWN_CUT = 3


@dataclass(frozen=True)
class TextReader:
    """A base's tokenizer, and how many tokens its text encoder takes, start and end included."""

    tokenizer: Tokenizer
    length: int

    def is_cut(self, text: str) -> bool:
        """Whether the end of a text is not read."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids) + _START_AND_END > self.length

    def in_pieces(self, text: str) -> list[str]:
        """The words of a text that are not known whole, each once."""
        return [word for word in dict.fromkeys(_words(text)) if self.is_in_pieces(word)]

    def is_in_pieces(self, word: str) -> bool:
        """Whether a word is not known whole."""
        return len(self.tokenizer.encode(word, add_special_tokens=False).ids) > 1


def text_reader(base: Path) -> TextReader | None:
    """The text reader of a base in diffusers layout; None where its tokenizer is of another kind."""
    folder = base / "tokenizer"
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        length = min(int(settings.get("model_max_length", _CLIP_LENGTH)), 10**6)
        if (folder / "tokenizer.json").is_file():
            return TextReader(Tokenizer.from_file(str(folder / "tokenizer.json")), length)
        return TextReader(_clip_tokenizer(folder), length)
    except Exception:  # the library raises bare exceptions; a base that cannot be used is reported where it is loaded
        return None


def word_notes(config: RunConfig, plan: Plan) -> tuple[str, ...]:
    """Lines on the request's own words: its prompt, its prompt file, the names of its class folders, the captions of its images."""
    asked = config.generate.prompt if config.generate else None
    if config.data is None or (asked is None and not config.data.prompts and config.data.name not in ("folder", "own")):
        return ()
    source = data_source(config.data)
    notes, texts = [], []
    if config.generate and asked is not None:
        (label,) = requested_prompts(config.generate, source.prompts)
        c = source.space.classes[label]
        notes.append(f"the prompt is drawn, and judged, as {c.slug}" + (f" ({c.name})" if c.name != c.slug else ""))
        texts.append(asked)
    if config.data.prompts:
        texts += [text for c in source.prompts.classes for text in (c.canonical, *c.training, *c.held_out)]
    elif config.data.name in ("folder", "own") and source.space is not COLORECTAL:
        texts += [c.canonical for c in source.prompts.classes]
    reader = text_reader(Path(plan.base.path_or_hub)) if plan.base and texts else None
    notes += reading_notes(reader, texts) if reader else []
    if source.captions and plan.base and any(stage.name == "cache" for stage in plan.stages):
        notes += [*source.captions.notes, *_caption_notes(Path(plan.base.path_or_hub), source.captions.texts)]
    return tuple(notes)


def reading_notes(reader: TextReader, texts: Sequence[str]) -> list[str]:
    """Notes on words of texts that the text encoder cuts off or splits."""
    cut = [text for text in texts if reader.is_cut(text)]
    lines = [f"the text encoder reads {reader.length} tokens, and cuts off the end of: “{text[:60]}…”" for text in cut]
    pieces = list(dict.fromkeys(word for text in texts for word in reader.in_pieces(text)))
    if pieces:
        more = ", …" if len(pieces) > _SHOWN else ""
        lines.append(f"words that the base's text encoder does not know and splits: {', '.join(pieces[:_SHOWN])}{more}")
    return lines


@functools.lru_cache(maxsize=4)
def _caption_notes(base: Path, captions: tuple[str, ...]) -> tuple[str, ...]:
    """Of many captions how many are cut off, and which words are not known whole; the jobs of a sweep share the answer."""
    reader = text_reader(base)
    if reader is None:
        return ()
    distinct = list(dict.fromkeys(captions))
    lines, cut = [], [caption for caption in distinct if reader.is_cut(caption)]
    if cut:
        some = ", ".join(f"“{caption[:60]}…”" for caption in cut[:_SHOWN_CUT])
        lines.append(f"the text encoder reads {reader.length} tokens, and cuts off the end of {len(cut):,} captions: {some}")
    words = dict.fromkeys(word for caption in distinct for word in _words(caption))
    pieces = [word for word in words if reader.is_in_pieces(word)]
    if pieces:
        some = f"{len(pieces):,} of {len(words):,} ({', '.join(pieces[:_SHOWN])}{', …' if len(pieces) > _SHOWN else ''})"
        lines.append(f"words of captions that the text encoder does not know and splits: {some}")
    return tuple(lines)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _clip_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from its older two files."""
    model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer
