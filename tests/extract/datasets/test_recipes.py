"""Every shipped recipe on rows made in its dataset's real layout, and what recipes can say."""

import csv
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptfuse.errors import AnnotationInvalid, ConfigError, DatasetMissing, UnknownName
from promptfuse.extract.datasets import read_raw
from promptfuse.extract.datasets.recipe import shipped


def put(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".csv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, content[0])
            writer.writeheader()
            writer.writerows(content)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def ten(*answers):
    return [{"answer": answer, "answer_confidence": "yes"} for answer in answers]


LAYOUTS = {
    "okvqa": (
        {
            "OpenEnded_mscoco_val2014_questions.json": {
                "questions": [{"image_id": 297147, "question": "What sport?", "question_id": 29714}]
            },
            "mscoco_val2014_annotations.json": {
                "annotations": [
                    {
                        "image_id": 297147,
                        "answer_type": "other",
                        "question_type": "four",
                        "question_id": 29714,
                        "answers": [
                            {"answer_id": 1, "raw_answer": "racing", "answer": "race"},
                            {"answer_id": 2, "raw_answer": "race", "answer": "race"},
                            {"answer_id": 3, "raw_answer": "motor", "answer": "motor"},
                        ],
                    }
                ]
            },
        },
        ("val", "29714", "What sport?", "race", ("race", "race", "motor")),
        {"image": "val2014/COCO_val2014_000000297147.jpg"},
    ),
    "vizwiz": (
        {
            "Annotations/train.json": [
                {
                    "image": "VizWiz_train_00000000.jpg",
                    "question": "What's the name of this product?",
                    "answers": ten("basil leaves", "basil leaves", "basil"),
                    "answer_type": "other",
                    "answerable": 1,
                }
            ],
            "Annotations/test.json": [{"image": "VizWiz_test_00000000.jpg", "question": "?"}],
        },
        (
            "train",
            "VizWiz_train_00000000.jpg",
            "What's the name of this product?",
            "basil leaves",
            ("basil leaves", "basil leaves", "basil"),
        ),
        {"image": "train/VizWiz_train_00000000.jpg"},
    ),
    "gqa": (
        {
            "val_balanced_questions.json": {
                "05451384": {
                    "question": "Is it overcast?",
                    "imageId": "2382986",
                    "answer": "no",
                    "types": {"detailed": "weatherVerify", "semantic": "global",
                              "structural": "verify"},
                }
            }
        },
        ("val", "05451384", "Is it overcast?", "no", ("no",)),
        {"image": "images/2382986.jpg"},
    ),
    "hateful_memes": (
        {
            "train.jsonl": [{"id": 42953, "img": "img/42953.png", "label": 0, "text": "a meme"}],
            "test_seen.jsonl": [{"id": 16395, "img": "img/16395.png", "text": "another"}],
        },
        ("train", "42953", "a meme", "benign", ("benign",)),
        {"image": "img/42953.png"},
    ),
    "meld": (
        {
            "test_sent_emo.csv": [
                {
                    "Sr No.": 1, "Utterance": "Why do all you\u2019re coffee mugs have numbers",
                    "Speaker": "Mark", "Emotion": "surprise", "Sentiment": "positive",
                    "Dialogue_ID": 0, "Utterance_ID": 3, "Season": 3, "Episode": 19,
                    "StartTime": "00:14:38,127", "EndTime": "00:14:40,378",
                }
            ]
        },
        (
            "test",
            "dia0_utt3",
            "Why do all you\u2019re coffee mugs have numbers",
            "surprise",
            ("surprise",),
        ),
        dict.fromkeys(["video", "audio"], "output_repeated_splits_test/dia0_utt3.mp4"),
    ),
    "mustard_plus_plus": (
        {
            "mustard++_text.csv": [
                {"SCENE": "1_10004", "KEY": f"1_10004_{kind}", "SENTENCE": said, "END_TIME": "",
                 "SPEAKER": "PERSON", "SHOW": "FRIENDS", "Sarcasm": sarcasm, "Sarcasm_Type": "",
                 "Implicit_Emotion": "Neutral", "Explicit_Emotion": "Neutral"}
                for kind, said, sarcasm in [("c_00", "Context.", ""), ("u", "Sure.", "1.0")]
            ]
        },
        ("train", "1_10004_u", "Sure.", "True", ("True",)),
        dict.fromkeys(["video", "audio"], "final_utterance_videos/1_10004_u.mp4"),
    ),
    "msrvtt_qa": (
        {
            "val_qa.json": [
                {"answer": "couch", "category_id": 14, "id": 158581, "video_id": 6513,
                 "question": "what are three people sitting on?"}
            ]
        },
        ("val", "158581", "what are three people sitting on?", "couch", ("couch",)),
        dict.fromkeys(["video", "audio"], "video/video6513.mp4"),
    ),
    "msvd_qa": (
        {
            "train_qa.json": [
                {"answer": "someone", "id": number, "question": "who?", "video_id": 1}
                for number in (0, 1)
            ],
            "youtube_mapping.txt": "-4wsuPCjDBc_5_15 vid1\n-7KMZQEsJW4_205_208 vid2\n",
        },
        ("train", "0", "who?", "someone", ("someone",)),
        {"video": "YouTubeClips/-4wsuPCjDBc_5_15.avi"},
    ),
    "activitynet_qa": (
        {
            "test_q.json": [
                {"video_name": "1QIUV7WYKXg", "question": "is it outdoors",
                 "question_id": "v_1QIUV7WYKXg_1"}
            ],
            "test_a.json": [{"answer": "yes", "type": 3, "question_id": "v_1QIUV7WYKXg_1"}],
        },
        ("test", "v_1QIUV7WYKXg_1", "is it outdoors", "yes", ("yes",)),
        dict.fromkeys(["video", "audio"], "videos/v_1QIUV7WYKXg.mp4"),
    ),
    "audiocaps": (
        {
            "val.csv": [
                {"audiocap_id": 97151, "youtube_id": "vfY_TJq7n_U", "start_time": 130,
                 "caption": "Rustling occurs"}
            ]
        },
        ("val", "97151", "What is heard?", "Rustling occurs", ("Rustling occurs",)),
        {"audio": "val/vfY_TJq7n_U.wav"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_shipped_recipe_reads_its_datasets_layout(tmp_path, name):
    files, expected, paths = LAYOUTS[name]
    for file, content in files.items():
        put(tmp_path, file, content)
    raw = read_raw(name, tmp_path)
    split, *_ = expected
    example = raw.splits[split][0]
    assert (split, example.id, example.text, example.answer, example.answers) == expected
    assert example.paths == paths
    assert (raw.info.name, raw.info.adapter) == (name, name)
    assert raw.info.modalities == tuple(paths)


def test_every_shipped_recipe_has_a_layout_here_or_a_test_of_its_own():
    assert set(shipped()) == set(LAYOUTS) | {"vqav2", "mustard"}


def test_a_test_split_without_answers_has_none(tmp_path):
    for file, content in LAYOUTS["hateful_memes"][0].items():
        put(tmp_path, file, content)
    [asked] = read_raw("hateful_memes", tmp_path).splits["test"]
    assert (asked.answer, asked.answers) == (None, ())


def test_mustard_plus_plus_keeps_utterances_not_their_context(tmp_path):
    put(tmp_path, "mustard++_text.csv", LAYOUTS["mustard_plus_plus"][0]["mustard++_text.csv"])
    assert [one.id for one in read_raw("mustard_plus_plus", tmp_path).splits["train"]] == [
        "1_10004_u"
    ]


OWN = """
source = "here"
{top}
[splits]
train = {{ word = "a" }}
[records]
files = "{files}"
{at}
{join}
[example]
id = "id"
text = "text"
answer = "{answer}"
{more}
[media]
image = "{image}"
"""


def own(root, *, rows=None, files="rows.jsonl", at="", join="", top="", answer="answer",
        image="{word}/{id:03d}.jpg", more=""):  # fmt: skip
    path = root / "own.toml"
    path.write_text(
        OWN.format(files=files, at=at, join=join, top=top, answer=answer, image=image, more=more)
    )
    if rows is not None:
        put(root, "rows.jsonl", rows)
    return str(path)


ROW = {"id": 7, "text": "t", "answer": "x", "deep": {"list": [{"word": "y"}]}}


def test_a_recipe_of_ones_own(tmp_path):
    [example] = read_raw(own(tmp_path, rows=[ROW]), tmp_path).splits["train"]
    assert (example.id, example.answer, example.paths) == ("7", "x", {"image": "a/007.jpg"})
    path = own(tmp_path, answer="deep.list.0.word")
    [example] = read_raw(path, tmp_path).splits["train"]
    assert example.answer == "y"


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "tsv"])
def test_records_may_lie_in_other_formats(tmp_path, suffix):
    table = pa.table({"id": [7, 8], "text": ["t", "u"], "answer": ["x", "y"]})
    (tmp_path / "part").mkdir()
    path = tmp_path / "part" / f"data-0.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path)
    elif suffix == "arrow":
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
    else:
        path.write_text("id\ttext\tanswer\n7\tt\tx\n8\tu\ty\n")
    recipe = own(tmp_path, files=f"part/data-*.{suffix}", image="{word}/{id}.jpg")
    examples = read_raw(recipe, tmp_path).splits["train"]
    assert [(one.id, one.answer, one.paths["image"]) for one in examples] == [
        ("7", "x", "a/7.jpg"), ("8", "y", "a/8.jpg"),
    ]  # fmt: skip


def test_a_value_can_be_changed_by_an_option(tmp_path):
    path = own(tmp_path, rows=[ROW], top='values = { word2 = "b" }', image="{word2}.jpg")
    [example] = read_raw(path, tmp_path, options={"word2": "c"}).splits["train"]
    assert example.paths == {"image": "c.jpg"}
    with pytest.raises(ConfigError, match="no option 'word'; it has: word2"):
        read_raw(path, tmp_path, options={"word": "c"})


JOIN = '[join]\nfiles = "more.jsonl"\non = "id"\nkey = "of"\n{}'


def test_others_may_be_joined_in_any_order(tmp_path):
    put(tmp_path, "more.jsonl", [{"of": 8, "said": "eight"}, {"of": 7, "said": "seven"}])
    path = own(tmp_path, rows=[ROW, {**ROW, "id": 8}], join=JOIN.format(""), answer="said")
    assert [one.answer for one in read_raw(path, tmp_path).splits["train"]] == ["seven", "eight"]


@pytest.mark.parametrize(
    ("said", "others", "message"),
    [
        ("", [{"of": 7, "said": "x"}], r"rows\.jsonl: id 8: no annotation has of 8; 2 records"),
        ("", [{"of": n, "said": "x"} for n in (8, 8, 7, 9)], "this of comes twice: 8"),
        ("", [{"of": n, "said": "x"} for n in (7, 8, 9, 10)], "of 10 is not asked for"),
        ("", [{"said": "x"}], r"more\.jsonl:1: lacks the field 'of'; it has: said"),
        ('same = ["n"]', [{"of": 7, "n": 1}], r"more\.jsonl: of 7: n 1, but .*id 7 has n 2"),
    ],
)
def test_a_join_that_does_not_fit_is_named(tmp_path, said, others, message):
    put(tmp_path, "more.jsonl", others)
    rows = [{**ROW, "n": 2, "id": number} for number in (7, 8, 9)]
    path = own(tmp_path, rows=rows, join=JOIN.format(said))
    with pytest.raises(AnnotationInvalid, match=message):
        read_raw(path, tmp_path)


def test_a_join_may_be_optional(tmp_path):
    put(tmp_path, "more.jsonl", [{"of": 7, "said": "seven"}])
    join = JOIN.format("optional = true")
    path = own(tmp_path, rows=[ROW, {**ROW, "id": 8}], join=join, answer="said?")
    assert [one.answer for one in read_raw(path, tmp_path).splits["train"]] == ["seven", None]


def test_annotations_that_are_not_there_are_named(tmp_path):
    path = own(tmp_path, rows=[ROW], join=JOIN.format(""))
    with pytest.raises(DatasetMissing, match=r"more\.jsonl: no such file; rows\.jsonl beside it"):
        read_raw(path, tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"top": "colour = 1"}, UnknownName, r"own\.toml 'colour'.*source"),
        ({"top": 'task = "label"'}, ConfigError, r"labels is \[\], and the task is 'label'"),
        ({"top": 'task = "vqaa"'}, ConfigError, "vqa"),
        ({"more": 'smell = "x"'}, UnknownName, "'smell'"),
        ({"answer": "reply"}, AnnotationInvalid, r"id 7: lacks the field 'reply'; it has: id"),
        ({"answer": "deep.nothing"}, AnnotationInvalid, "id 7: has no 'deep.nothing'; 'deep' is"),
        ({"image": "{stem}.jpg"}, AnnotationInvalid, "id 7: lacks the field 'stem'"),
        ({"image": "{id!r}.jpg"}, ConfigError, "is no template"),
        ({"image": "{id:{word}}.jpg"}, ConfigError, "is no template"),
        ({"image": "{text:03d}.jpg"}, AnnotationInvalid, "id 7: '{text:03d}.jpg' cannot hold 't'"),
        ({"image": "{id"}, ConfigError, "is no template"),
        ({"files": "../rows.jsonl"}, ConfigError, "leads out of the data folder"),
        ({"files": "/rows.jsonl"}, ConfigError, "leads out of the data folder"),
        ({"files": "rows.xlsx"}, ConfigError, r"'rows\.xlsx' ends in none of \.json"),
        ({"files": "none.jsonl"}, DatasetMissing, r"no file of own; expected none\.jsonl"),
        ({"files": "rows.json", "at": 'at = "a/b"'}, AnnotationInvalid, "lacks the field 'b'"),
        ({"top": 'only = { text = "u*" }'}, AnnotationInvalid, "holds no record that counts"),
        ({"join": JOIN.format('[join.example]\nanswr = "x"')}, UnknownName, "'answr'"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path, changes, error, message):
    put(tmp_path, "rows.json", {"a": {"c": []}})
    path = own(tmp_path, rows=[ROW], **changes)
    with pytest.raises(error, match=message):
        read_raw(path, tmp_path)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(DatasetMissing, match=r"nowhere\.toml: no such recipe"):
        read_raw(str(tmp_path / "nowhere.toml"), tmp_path)


def test_an_id_that_comes_twice_is_named(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"rows\.jsonl: id '7' comes twice"):
        read_raw(own(tmp_path, rows=[ROW, ROW]), tmp_path)


def test_meld_takes_fewer_than_thirty_lines():
    said = re.sub(r"#.*", "", shipped()["meld"].read_text()).splitlines()
    assert len([line for line in said if line.strip()]) < 30


def test_a_join_by_what_is_no_name_is_named(tmp_path):
    put(tmp_path, "more.jsonl", [{"of": {"a": 1}}])
    with pytest.raises(AnnotationInvalid, match=r"more\.jsonl: .* of must be text or a whole numb"):
        read_raw(own(tmp_path, rows=[ROW], join=JOIN.format("")), tmp_path)
