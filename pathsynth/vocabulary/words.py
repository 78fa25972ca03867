"""Words that the embedded base's tokenizer keeps whole, beside those of captions and prompt books."""

from __future__ import annotations

import re

from pathsynth.vocabulary.prompts import colorectal_prompts

_COMMON = """
above abnormal air around background bare basal benign beside bladder blood blue blurred body bone bowel breast bright
brown bubble bundle cancer cell cells center chest clear close cluster cold colon coloured connective cortex crowded
culture cut cytoplasm dark deep dense dermis detail diffuse disease duct edge elongated empty eosin eosinophil
epithelial epithelium erythroblast eye faint femur few fiber fibers fibre fibres field filled find focus full fundus
gland glands granular granulocyte gray green grey healthy heart hematoxylin high human image immature inflamed inside
intestine irregular kidney large layer left lesion light liver loose low lung lymphocyte malignant many mass
melanoma membrane microscope mild moderate monocyte mucinous mucosal neutrophil no normal not nucleus nuclei oval
pancreas patch patient pattern pink plain platelet polyp purple red retina right ring round sample scan section shape
sheet skin slide small soft some sparse spleen spots stain stained stomach tall thick thin tissue tubule tumor tumour
ultrasound under vacuole vein vessel very violet wall wavy white wide x ray yellow young h e s t the this that is are
its by for from on at to as or one two three four five six seven eight nine ten
"""


def whole_words(captions: tuple[str, ...]) -> list[str]:
    """Every word that gets a code of its own: caption words, prompt-book words and common descriptive words."""
    book = colorectal_prompts()
    prompts = [p for c in book.classes for p in (c.canonical, *c.training, *c.held_out)]
    names = [name for c in book.space.classes for name in c.names]
    text = " ".join([*captions, *prompts, *names, _COMMON]).lower()
    return sorted(set(re.findall(r"[a-z]+", text)))
