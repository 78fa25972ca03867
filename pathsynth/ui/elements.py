"""Text in a tag of its own: a text node, also where the text looks like HTML."""

from __future__ import annotations

from nicegui.elements.mixins.text_element import TextElement


def text(tag: str, content: str) -> TextElement:
    """An element of HTML that holds ``content`` as text."""
    return TextElement(tag=tag, text=content)
