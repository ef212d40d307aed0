"""The text normalisation of the official VQA scorer, with all of its quirks.

Source: the VQA evaluation's description at visualqa.org and the behaviour of its released scorer.
"""

import json
import re
from functools import lru_cache
from importlib import resources

PUNCTUATION = (
    ";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`",
    ",", "?", "!",
)  # fmt: skip
ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip

# The official pattern means to spare decimal points with a look-behind, which is mistyped and
# always holds: what is left is "a period that no digit follows".
_LOOSE_PERIOD = re.compile(r"\.(?!\d)")
# The official call passes a flag (value 32) where the count belongs.
_MOST_PERIODS_DELETED = 32
_COMMA_IN_NUMBER = re.compile(r"\d,\d")


@lru_cache(maxsize=1)
def contractions() -> dict[str, str]:
    """Return the official list: a word without its apostrophe → the word with it."""
    listed = resources.files(__package__ or "").joinpath("vqa_contractions.json")
    return json.loads(listed.read_text(encoding="utf-8"))


def clean_whitespace(text: str) -> str:
    """Return the text with newlines and tabs as spaces, stripped at both ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def strip_punctuation(text: str) -> str:
    """Return the text after the official punctuation step.

    A mark is deleted, everywhere, if it stands next to a space anywhere in the text or if the
    text has a digit,comma,digit anywhere (then every mark is); otherwise it becomes a space.
    Periods that no digit follows go last.
    """
    number_with_comma = _COMMA_IN_NUMBER.search(text) is not None
    result = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside_space or number_with_comma else " ")
    return _LOOSE_PERIOD.sub("", result, count=_MOST_PERIODS_DELETED)


def standardise_words(text: str) -> str:
    """Return the text after the official digit and article step.

    Lower-cased; number words up to ten as digits; articles dropped; apostrophes of listed
    contractions restored; words joined by single spaces.
    """
    restored = contractions()
    digits = (NUMBER_WORDS.get(word, word) for word in text.lower().split())
    return " ".join(restored.get(word, word) for word in digits if word not in ARTICLES)


@lru_cache(maxsize=1 << 16)
def normalise_answer(text: str) -> str:
    """Return the text after both steps: punctuation, then digits and articles."""
    return standardise_words(strip_punctuation(text))
