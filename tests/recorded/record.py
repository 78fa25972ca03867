"""`make record`: carry out the commands whose output README shows, in a new folder, and keep what they print in readme.txt.

Of the images that the first one leaves, README's strip is made. It takes minutes. tests/test_readme.py compares README with the record,
tests/test_walk.py the record with what is printed today.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pathsynth.vocabulary.labels import COLORECTAL, LabelSpace

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).parent / "readme.txt"
STRIP = ROOT / "docs" / "tissue_strip.png"
COMMANDS = (
    "pathsynth generate labels=all n=4 study.name=tissue",
    "pathsynth run study=demo",
    "pathsynth report multirun/demo",
)


def recorded(command: str, folder: Path) -> str:
    """A command and what it prints, as it would on any machine: paths are below the working folder or the clone."""
    words = command.split()[1:]
    program = [sys.executable, "-m", "pathsynth", *words]
    offline = {**os.environ, "WANDB_MODE": "offline"}
    ended = subprocess.run(program, cwd=folder, env=offline, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.rstrip() for line in ended.stdout.splitlines()]
    return "\n".join([f"$ {command}", *lines, ""]).replace(f"{folder}/", "").replace(f"{ROOT}/", "")


def labelled_strip(images: Path, space: LabelSpace) -> Image.Image:
    """The first image of each class, with the class's name below it."""
    side, gap, words = 112, 6, 46
    strip = Image.new("RGB", (len(space) * (side + gap) + gap, side + words + gap), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    for number, tissue in enumerate(space.classes):
        left = gap + number * (side + gap)
        with Image.open(sorted((images / tissue.slug).glob("*.png"))[0]) as image:
            strip.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, gap))
        name = "\n".join(textwrap.wrap(tissue.name, 17, break_on_hyphens=False))
        draw.multiline_text((left + side / 2, side + gap + 3), name, "black", font, anchor="ma", align="center", spacing=1)
    return strip


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        RECORD.write_text("\n".join(recorded(command, folder) for command in COMMANDS), encoding="utf-8")
        (images,) = folder.glob("multirun/tissue/*/images")
        labelled_strip(images, COLORECTAL).save(STRIP, optimize=True)


if __name__ == "__main__":
    main()
