"""Each clause of the official text normalisation, worked by hand."""

import pytest

from promptfuse.train.metrics.vqa import (
    PUNCTUATION,
    clean_whitespace,
    contractions,
    normalise_answer,
    standardise_words,
    strip_punctuation,
)


def test_newlines_and_tabs_become_spaces_and_the_ends_are_stripped() -> None:
    assert clean_whitespace("\t two\ncats\tasleep \n") == "two cats asleep"
    assert clean_whitespace("two\r\ncats") == "two\r cats"  # only those two characters


@pytest.mark.parametrize("mark", PUNCTUATION)
def test_a_mark_between_letters_becomes_a_space(mark: str) -> None:
    assert strip_punctuation(f"red{mark}blue") == "red blue"


@pytest.mark.parametrize("mark", PUNCTUATION)
def test_a_mark_beside_a_space_is_deleted(mark: str) -> None:
    assert strip_punctuation(f"red{mark} blue") == "red blue"
    assert strip_punctuation(f"red {mark}blue") == "red blue"


def test_the_list_holds_the_21_official_marks() -> None:
    assert len(PUNCTUATION) == 21
    assert set(PUNCTUATION) == set(';/[]"{}()=+\\_-><@`,?!')


@pytest.mark.parametrize("mark", [":", "'", "&", "%", "$", "*", "#", "|", "~", "^"])
def test_marks_not_in_the_official_list_stay(mark: str) -> None:
    assert strip_punctuation(f"red{mark}blue {mark} green") == f"red{mark}blue {mark} green"


def test_one_space_beside_a_mark_deletes_all_of_that_mark_but_no_other() -> None:
    assert strip_punctuation("t-shirt - red/blue") == "tshirt  red blue"


def test_a_number_with_a_comma_deletes_every_mark_everywhere() -> None:
    assert strip_punctuation("1,000") == "1000"
    assert strip_punctuation("red/blue 1,000 t-shirts") == "redblue 1000 tshirts"


def test_a_comma_with_a_digit_on_one_side_only_becomes_a_space() -> None:
    assert strip_punctuation("1,a") == "1 a"
    assert strip_punctuation("a,1") == "a 1"


def test_the_spaces_that_count_are_those_of_the_text_before_the_step() -> None:
    # `/` turns to a space first; the `-` beside it was not beside a space in the original.
    assert strip_punctuation("a/-b") == "a  b"


def test_a_period_is_deleted_unless_a_digit_follows() -> None:
    assert strip_punctuation("3.5") == "3.5"
    assert strip_punctuation("no.") == "no"
    assert strip_punctuation("u.s.a.") == "usa"
    assert strip_punctuation("3. 5") == "3 5"


def test_the_mistyped_look_behind_spares_a_period_before_a_digit_after_a_letter() -> None:
    assert strip_punctuation("a.5") == "a.5"
    assert strip_punctuation("5.a") == "5a"


def test_at_most_32_periods_are_deleted() -> None:
    assert strip_punctuation("." * 32) == ""
    assert strip_punctuation("." * 35) == "..."


def test_words_are_lower_cased_and_joined_by_single_spaces() -> None:
    assert standardise_words("  Red   BUS ") == "red bus"


@pytest.mark.parametrize(
    ("word", "digit"),
    [
        ("none", "0"), ("zero", "0"), ("one", "1"), ("two", "2"), ("three", "3"), ("four", "4"),
        ("five", "5"), ("six", "6"), ("seven", "7"), ("eight", "8"), ("nine", "9"), ("ten", "10"),
        ("eleven", "eleven"), ("Two", "2"), ("twos", "twos"),
    ],
)  # fmt: skip
def test_number_words_up_to_ten_become_digits(word: str, digit: str) -> None:
    assert standardise_words(word) == digit


def test_articles_are_dropped_as_whole_words() -> None:
    assert standardise_words("The cat on a mat and an anthem") == "cat on mat and anthem"
    assert standardise_words("a") == ""


def test_apostrophes_of_listed_contractions_are_restored() -> None:
    assert standardise_words("dont") == "don't"
    assert standardise_words("Couldntve cant") == "couldntve can't"
    assert standardise_words("oclock wouldn'tve") == "o'clock wouldn't've"


def test_the_listed_oddity_that_takes_an_apostrophe_away_is_kept() -> None:
    assert standardise_words("somebody'd") == "somebodyd"


def test_the_capitals_of_the_list_are_never_met_because_words_are_lower_case() -> None:
    assert contractions()["Im"] == "I'm"
    assert standardise_words("Im") == "im"


def test_the_shipped_list_is_whole() -> None:
    assert len(contractions()) == 120


def test_punctuation_goes_before_digits_and_articles() -> None:
    assert normalise_answer("The two-seater!") == "2 seater"
    assert normalise_answer("a.") == ""
    assert normalise_answer("(none)") == "0"
