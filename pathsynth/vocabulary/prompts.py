"""Prompt books: for each class the canonical prompt and paraphrases, some held out from training."""

from __future__ import annotations

from dataclasses import dataclass

from pathsynth.vocabulary.labels import COLORECTAL, LabelClass, LabelSpace

CANONICAL_TEMPLATE = "a histopathological image of an area with {name}"
"""The prompt of Choudhary, arXiv 2506.00786."""


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of one class. ``held_out`` is never seen in training: it measures prompt robustness."""

    canonical: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class PromptBook:
    """Prompts for every class of a label space, in class order."""

    space: LabelSpace
    classes: tuple[ClassPrompts, ...]

    def canonical(self, label: int) -> str:
        """The canonical prompt of class ``label``, its index."""
        return self.classes[label].canonical

    def wordings(self, label: int, kind: str) -> tuple[str, ...]:
        """The prompts of one ``kind``: canonical, paraphrases (of training) or held_out."""
        book = self.classes[label]
        return {"canonical": (book.canonical,), "paraphrases": book.training, "held_out": book.held_out}[kind]

    def captions(self, label: int, paraphrases: bool) -> tuple[str, ...]:
        """What a training image of this class may be captioned with; the canonical prompt comes first."""
        book = self.classes[label]
        return (book.canonical, *book.training) if paraphrases else (book.canonical,)


_COLORECTAL_PARAPHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "adipose": (
        ("fat cells with large clear vacuoles", "an H&E stained section of adipose tissue", "thin walled adipocytes under the microscope"),
        ("histology of fatty tissue", "a microscope slide that shows fat"),
    ),
    "background": (
        ("the empty background of a slide", "an H&E slide with bare glass and no tissue", "plain background without cells"),
        ("an empty field of a microscope slide, background only", "nothing but empty glass"),
    ),
    "debris": (
        ("necrotic debris with ghost nuclei", "an H&E stained section of cell debris", "granular pink necrosis under the microscope"),
        ("histology of an area of debris", "a microscope slide that shows necrosis"),
    ),
    "lymphocytes": (
        (
            "a dense field of lymphocytes with small dark nuclei",
            "an H&E stained section of lymphoid cells",
            "many lymphocytes under the microscope",
        ),
        ("histology of crowded lymphocytes", "a microscope slide that shows immune cells"),
    ),
    "mucus": (
        ("a pool of pale mucus with faint streaks", "an H&E stained section of mucus", "mucin under the microscope"),
        ("histology of a mucus pool", "a microscope slide that shows mucin"),
    ),
    "smooth-muscle": (
        (
            "parallel smooth muscle fibres with long nuclei",
            "an H&E stained section of smooth muscle",
            "bundles of muscle under the microscope",
        ),
        ("histology of muscle fibres", "a microscope slide that shows smooth muscle"),
    ),
    "normal-mucosa": (
        (
            "round crypts of normal colon mucosa around a lumen",
            "an H&E stained section of healthy mucosa",
            "colonic crypts under the microscope",
        ),
        ("histology of normal mucosa", "a microscope slide that shows healthy colon mucosa"),
    ),
    "cancer-stroma": (
        ("wavy collagen of cancer-associated stroma", "an H&E stained section of tumor stroma", "desmoplastic stroma under the microscope"),
        ("histology of stroma with spindle nuclei", "a microscope slide that shows tumour stroma"),
    ),
    "adenocarcinoma": (
        (
            "crowded irregular nuclei of colorectal adenocarcinoma epithelium",
            "an H&E stained section of tumor epithelium",
            "carcinoma glands under the microscope",
        ),
        ("histology of adenocarcinoma epithelium", "a microscope slide that shows tumour epithelium"),
    ),
}


def colorectal_prompts() -> PromptBook:
    """The prompt book of PathMNIST and of the phantom: one canonical prompt, three for training, two held out a class."""
    return PromptBook(COLORECTAL, tuple(_class_prompts(c) for c in COLORECTAL.classes))


def _class_prompts(c: LabelClass) -> ClassPrompts:
    training, held_out = _COLORECTAL_PARAPHRASES[c.slug]
    return ClassPrompts(CANONICAL_TEMPLATE.format(name=c.name), training, held_out)


def generic_prompts(space: LabelSpace) -> PromptBook:
    """A prompt book by class names alone, for data that has none of its own."""
    return PromptBook(space, tuple(generic_class_prompts(c.name) for c in space.classes))


def generic_class_prompts(name: str) -> ClassPrompts:
    """The prompts of a class by its name alone."""
    training = (f"a photo of {name}", f"{name} under the microscope", f"a close image of {name}")
    return ClassPrompts(f"an image of an area with {name}", training, (f"a picture that shows {name}", f"one sample of {name}"))
