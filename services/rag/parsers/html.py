"""Text of a web page as a reader sees it: no scripts, no styles, nothing hidden."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from services.rag.parsers.text import Text, decoded, one_line, warn_of_guess

_SKIPPED = frozenset(("head", "script", "style", "noscript", "template", "iframe", "object", "svg", "math", "canvas"))
_BLOCKS = frozenset(
    """
    address article aside blockquote body br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4
    h5 h6 header hr li main nav ol p pre section summary table tr ul
    """.split()  # noqa: SIM905 - one word a line would be forty lines
)
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0*)?\s*(?:;|$|!)|font-size\s*:\s*0",
    re.I,
)
_CHARSET = re.compile(rb"<meta[^>]{0,300}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.I)
_SPACES = re.compile(r"\s+")


def read(data: bytes, text: Text) -> None:
    named = _CHARSET.search(data[:4096])
    told, encoding = decoded(data, named.group(1).decode() if named else None)
    if not named:
        warn_of_guess(text, encoding)
    read_page(told, text)


def read_page(told: str, text: Text) -> None:
    tree = LexborHTMLParser(told.replace("\x00", ""))
    title = tree.css_first("title")
    text.title = text.title or (one_line(title.text()) or None if title is not None else None)
    if tree.body is not None:
        _walk(tree.body, text)


def _walk(top: LexborNode, text: Text) -> None:
    """Without recursion, for pages nest as deep as they please."""
    node: LexborNode | None = top
    while node is not None:
        inside = _enter(node, text)
        if inside and node.child is not None:
            node = node.child
            continue
        while node is not None:
            _leave(node, text)
            if node.mem_id == top.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def _enter(node: LexborNode, text: Text) -> bool:
    """False where the reader does not see what is in it."""
    if node.is_text_node:
        _add_words(node, text)
        return False
    tag = node.tag or ""
    if not node.is_element_node or tag in _SKIPPED or _is_hidden(node):
        return False
    if tag in _BLOCKS:
        text.add("\n")
    if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
        text.heading(node.text(deep=True))
    return True


def _add_words(node: LexborNode, text: Text) -> None:
    words = node.text_content or ""
    in_pre = node.parent is not None and node.parent.tag in ("pre", "textarea")
    text.add(words if in_pre else _SPACES.sub(" ", words))


def _leave(node: LexborNode, text: Text) -> None:
    if node.tag in ("td", "th"):
        text.add("\t")
    elif node.tag in _BLOCKS:
        text.add("\n")


def _is_hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or bool(_HIDDEN.search((attributes.get("style") or "")[:2000]))
