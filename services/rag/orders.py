"""Text that gives orders to a machine, which nobody needs to remember and no model should ever be given as a memory.

A list of shapes is no defence by itself: a model that is given memories has no tools and no other user's memory (see
the prompts of the chat). It keeps such text from being *learnt*, so that it does not come back with every question.
"""

from __future__ import annotations

import re
import unicodedata

MOST_WEIGHED = 50_000
"""Characters of one utterance that are looked through; a longer one was not said by a person in one go."""
_MACHINE = r"(?:assistant|a\.?i\.?|chat ?bots?|(?:large )?language model|llm|gpt|nemo|copilot|claude|gemma|alexa|siri)"
_WORDS = r"(?:\W+\w+){0,6}?\W+"
_SHAPES: dict[str, tuple[str, ...]] = {
    "overrides_instructions": (
        rf"\b(?:ignor\w*|disregard|forget|override|overrule|bypass|vergiss|olvida\w*|oublie\w*)\b{_WORDS}"
        r"(?:instruc\w*|prompts?|rules?|guidelines?|directives?|anweisung\w*|regeln|consignes|safety"
        r"|(?:previous|prior|above|earlier) (?:text|messages?|context|conversation)|everything (?:above|before)"
        r"|you (?:were|have been) told)\b",
        r"\bnew (?:system )?(?:instructions?|prompt|directives?)\s*:",
    ),
    "speaks_to_a_machine": (
        rf"\b{_MACHINE}\b\s*[,:;–—-]\s*(?:please\s+)?(?:you|always|never|do|don't|must|from now|ignore|send|forget"
        r"|remember|reply|answer|tell|say|delete|read|open|reveal|print|call|write|respond|when|if|in)\b",
        rf"\b(?:the|this|any|every|an?|your) {_MACHINE} (?:should|must|shall|has to|is to|needs to|may not"
        r"|will (?:always|never|now))\b",
        r"\b(?:dear|hey|attention|note (?:to|for)|message (?:to|for)|instructions? (?:to|for))(?: the)? "
        rf"{_MACHINE}\b",
        rf"\b(?:that|want|need)(?: the| this| any| every| my| your)? {_MACHINE} (?:to )?(?:always|never|answers?"
        r"|repl\w+|sends?|says?|ignores?|reveals?|forwards?|responds?)\b",
    ),
    "sets_behaviour": (
        r"\b(?:from now on|henceforth)\b[,:]?\s+(?:you|always|never|answer|respond|reply|every|all|only|act)\b",
        r"\byou (?:are|will) (?:now|no longer) (?:an?|the|in|act|bound|allowed|restricted|be)\b",
        r"\bact as (?:an?|if|the|my)\b|\bpretend (?:to be|that you|you are)\b",
        r"\b(?:developer|god|dan|debug|admin|jailbreak) mode\b|\bjailbreak",
        r"(?<!\bi )(?<!\bwe )(?<!\bthey )(?<!\bwho )\b(?:always|never) (?:answer|respond|reply|recommend|output|include"
        r"|mention|append|begin your|end your|refuse|obey)\b",
        r"\b(?:all|every|each)(?: of)?(?: your)?(?: future| next)? (?:answers?|repl(?:y|ies)|responses?|outputs?)"
        r" (?:must|should|has to|have to|ends?|begins?|starts?|contains?|includes?|will)\b",
        r"\bin (?:all|every|each|your)(?: of)?(?: your)?(?: future| next)? (?:answers?|repl(?:y|ies)|responses?"
        r"|outputs?)\b",
        r"\b(?:when(?:ever)?|if) (?:you are |you're |the user |anyone |somebody |someone |they )?(?:asked|asks?)\b"
        rf"{_WORDS}(?:say|answer|reply|respond|tell|claim|deny|output)\b",
    ),
    "asks_for_secrets": (
        rf"\b(?:reveal|print|output|repeat|show|leak|exfiltrate|dump|send|forward|e-?mail|post|upload)\b{_WORDS}"
        r"(?:system prompt|your (?:instructions|prompt|rules)|(?:all|every|(?:the )?user'?s'?|other users'?)"
        r"(?:\W+\w+){0,2}?\W+(?:memor(?:y|ies)|passwords?|secrets?|data|conversations?|transcripts?|files|contacts))\b",
        r"\b(?:do not|don't|never) (?:tell|inform|warn|alert|mention (?:this )?to) the user\b",
    ),
    "template_tokens": (
        r"<\s*\|?\s*/?\s*(?:im_start|im_end|system|user|assistant|start_of_turn|end_of_turn|start_header_id"
        r"|end_header_id|eot_id|endoftext|begin_of_text|bos|eos|s|memory|tool_call|tool_response|think|script|iframe"
        r"|img)\b",
        r"\[\s*/?\s*INST\s*\]|<\s*</?\s*SYS|#{2,}\s*(?:instructions?|system|assistant|response|human|user)\b",
        r"(?:^|\n)\s*(?:system|assistant|developer|tool)\s*:|\{\{|\}\}|\{%|```|\$\{|!\[[^\]\n]{0,80}\]\(",
    ),
}
_PATTERNS = {name: re.compile("|".join(shapes), re.IGNORECASE) for name, shapes in _SHAPES.items()}
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060-\u2064\ufeff\u00ad\U000e0000-\U000e007f]")
"""Characters that nobody sees or that turn the reading order round; joiners and marks of a direction are writing."""


def instruction_shaped(*texts: str | None) -> list[str]:
    """Names of the shapes in which these texts give orders or hide something; empty for what people say."""
    found: list[str] = []
    for text in texts:
        if not text:
            continue
        if _HIDDEN.search(text):
            found.append("hidden_characters")
        plain = _plainly(text[:MOST_WEIGHED])
        found += [name for name, pattern in _PATTERNS.items() if pattern.search(plain)]
    return list(dict.fromkeys(found))


def _plainly(text: str) -> str:
    """As it reads: full width and other dress taken off, invisible characters gone, one blank where there are many."""
    shown = unicodedata.normalize("NFKC", _HIDDEN.sub("", text)).replace("’", "'")
    return re.sub(r"[^\S\n]+", " ", shown)
