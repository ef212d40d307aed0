"""Neither words, nor delivery, nor a question's own text may give an answer away."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from collections import Counter, defaultdict
from random import Random

from promptfuse.demo import words
from promptfuse.demo.mustard import TEST_SHOW, MustardSize, plan_clips


def shares(clips, attribute):
    """The share of sarcastic clips for each value of an attribute."""
    groups = defaultdict(list)
    for clip in clips:
        groups[getattr(clip, attribute)].append(clip.sarcastic)
    return {value: sum(group) / len(group) for value, group in groups.items()}


def test_words_and_delivery_alone_say_nothing() -> None:
    clips = plan_clips(0, MustardSize())
    for is_test in (False, True):
        split = [clip for clip in clips if (clip.show == TEST_SHOW) == is_test]
        whole = sum(clip.sarcastic for clip in split) / len(split)
        for attribute in ("words", "delivery"):
            found = shares(split, attribute)
            assert set(found) == {"positive", "negative"}
            assert all(abs(share - whole) < 0.01 for share in found.values()), found


def test_classes_are_about_but_not_exactly_balanced() -> None:
    clips = plan_clips(0, MustardSize())
    train = [clip.sarcastic for clip in clips if clip.show != TEST_SHOW]
    test = [clip.sarcastic for clip in clips if clip.show == TEST_SHOW]
    assert (len(train), sum(train)) == (640, 352)
    assert (len(test), sum(test)) == (200, 90)


def test_an_utterance_is_drawn_without_knowing_its_class() -> None:
    train = {words.utter("positive", Random(i)) for i in range(500)}
    assert not train & {words.utter("negative", Random(i)) for i in range(500)}
    assert len(train) > 100


def test_questions_alone_are_answered_little_better_than_by_chance() -> None:
    rng = Random(3)
    asked = [words.ask(words.draw_scene(rng), rng) for _ in range(20_000)]
    answers = defaultdict(Counter)
    for question in asked:
        answers[question.text][question.answer] += 1
    best = sum(counter.most_common(1)[0][1] for counter in answers.values())
    assert best / len(asked) < 0.40


def test_every_question_is_answered_rightly() -> None:
    rng = Random(4)
    kinds = Counter()
    for _ in range(2_000):
        scene = words.draw_scene(rng)
        question = words.ask(scene, rng)
        kinds[question.answer_type] += 1
        if question.answer_type == "number":
            assert question.answer == str(scene.count)
        elif question.answer_type == "other":
            assert question.answer in {scene.color, scene.shape}
        else:
            facts = {
                scene.color,
                words.plural(scene.shape),
                words.COUNT_WORDS[scene.count - 1],
            }
            named = question.text.rstrip("?").split()
            if named[-1] in {"things"}:
                named = named[:-1]
            assert (named[-1] in facts) == (question.answer == "yes")
    assert set(kinds) == {"yes/no", "number", "other"}
    assert min(kinds.values()) > 400
