"""Tables built by hand that must not compare what is not comparable."""

import json
from dataclasses import replace

import pytest

from promptfuse.tables import Spread
from promptfuse.train.record import FeatureUse
from promptfuse.train.report.groups import labels_of
from promptfuse.train.report.paper_tables import order_tables
from promptfuse.train.report.report import make_report

from .made_runs import PAPER_VIDEO, labels, made_run
from .test_paper_tables import (
    PAPERS_MUSTARD,
    PAPERS_VQA,
    VQA,
    groups_in,
    numbered,
    overall,
)

T5 = {"source": "google-t5/t5-base", "id": "google-t5/t5-base", "family": "t5"}
BERT = {"source": "bert-base-uncased", "id": "bert-base-uncased", "family": "bert"}


def papers_rows(root, number):
    return [
        row
        for shown in numbered(root, number)
        for row, kind in zip(shown.table.rows, shown.kinds, strict=False)
        if kind == "theirs"
    ]


def rewritten(folder, **changes):
    (file,) = folder.glob("eval-*/metrics.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"plm": T5},  # tables 2, 5 and 6 are BART's
        {"plm": {"source": "/models/notbart-base", "family": "bart"}},
        {"features": {"image": replace(PAPER_VIDEO, encoder="facebook/wav2vec2-base-960h")}},
        {"features": {"video": PAPER_VIDEO}},
        {"train_examples": 400_000},  # a part of the training split
        {"lr_prompt": 1e-9},
        {"width_fix": "pad"},
        {"split": "test"},
    ],
)
def test_beside_another_setting_the_papers_figures_do_not_stand(tmp_path, changes):
    made_run(tmp_path, overall(30.0), **PAPERS_VQA)
    assert len(papers_rows(tmp_path, 2)) == 1
    made_run(tmp_path / "other", overall(30.0), **(PAPERS_VQA | changes))
    assert papers_rows(tmp_path / "other", 2) == []


def test_answers_cut_short_are_not_the_papers_setting(tmp_path):
    folder = made_run(tmp_path, overall(30.0), **PAPERS_VQA)
    rewritten(folder, answering={"by": "greedy", "batch_size": 128, "max_new_tokens": 10})
    assert len(papers_rows(tmp_path, 2)) == 1
    rewritten(folder, answering={"by": "greedy", "batch_size": 128, "max_new_tokens": 1})
    assert papers_rows(tmp_path, 2) == []


def test_in_table_5_each_row_must_be_of_the_papers_setting(tmp_path):
    made_run(tmp_path, overall(20.0), **PAPERS_VQA, prompt_length=5)
    made_run(tmp_path, overall(30.0), **PAPERS_VQA)
    for length in (5, 20):
        made_run(tmp_path, overall(1.0), **PAPERS_VQA, prompt_length=length, lr_prompt=1e-9)
    (mine,) = numbered(tmp_path, 5)
    assert [(row[1], row[3].mean) for row in mine.table.rows if "paper" in row[2]] == [
        (5, 28.5),
        (20, 34.1),
    ]
    assert len(mine.table.rows) == 6


@pytest.mark.parametrize("number", [5, 6])
def test_tables_5_and_6_are_of_full_data(tmp_path, number):
    few = PAPERS_VQA | {"shots": 128, "train_examples": 128, "preset": "vqav2_low", "epochs": 100}
    average = {"features": {"image": FeatureUse("cc", "average", PAPER_VIDEO.encoder)}}
    made_run(tmp_path, overall(28.0), **few)
    made_run(tmp_path, overall(28.0), **few, prompt_length=5)
    made_run(tmp_path, overall(28.0), **(few | average))
    assert len(papers_rows(tmp_path, 2)) == 1
    assert papers_rows(tmp_path, number) == []


def test_in_table_7_a_variant_has_no_figures_of_the_paper(tmp_path):
    made_run(tmp_path, overall(30.0), **PAPERS_VQA)
    made_run(tmp_path, overall(32.0), **(PAPERS_VQA | {"plm": T5}), prompt_length=5)
    assert [row[0] for row in papers_rows(tmp_path, 7)] == ["bart-base"]


def test_whose_choice_it_is_where_the_papers_text_and_code_differ_is_said(tmp_path):
    made_run(tmp_path, labels(51.0), **PAPERS_MUSTARD)
    note = make_report(tmp_path).notes[-1]
    assert "prompt_init tokens (the paper's released code)" in note
    assert "shot_sampling stratified (the paper's text)" in note
    code = {"prompt_init": "random", "shot_sampling": "paper"}
    made_run(tmp_path / "other", labels(51.0), **PAPERS_MUSTARD, **code)
    note = make_report(tmp_path / "other").notes[-1]
    assert "prompt_init random (the paper's text)" in note
    assert "shot_sampling paper (the paper's released code)" in note
    made_run(tmp_path / "no", labels(51.0))
    assert not any("figures stand" in note for note in make_report(tmp_path / "no").notes)


def test_another_rate_is_marked_whatever_the_number_of_shots(tmp_path):
    made_run(tmp_path, labels(1.0))
    made_run(tmp_path, labels(2.0), shots=None, lr_prompt=0.1, method="blindprompt")
    assert [label.split(", ")[1] for label in labels_of(groups_in(tmp_path))] == [
        "lr_prompt 0.5",
        "lr_prompt 0.1",
    ]


def of_a_part(root, **changes):
    """A BERT's run: two of the six examples cannot be answered, so no figure is of the whole."""
    folder = made_run(root, overall(50.0), **(VQA | {"plm": BERT} | changes))
    rewritten(folder, unanswerable=2, ids_sha256="2" * 64)
    return folder


def test_a_part_of_a_split_is_ranked_apart_and_never_called_overall(tmp_path):
    of_a_part(tmp_path)
    of_a_part(tmp_path, method="blindprompt")
    made_run(tmp_path, overall(30.0), **VQA)
    made_run(tmp_path, overall(20.0), **VQA, method="linear", prompt_length=0)
    part, whole = order_tables(groups_in(tmp_path))
    assert "by overall of answerable" in part.table.title
    assert "by overall, " in whole.table.title
    assert whole.table.rows[0][1] == "promptfuse > linear"
    main = numbered(tmp_path, 2)[0].table
    column = main.columns.index("overall")
    assert [row[column] is None for row in main.rows if "plm bert" in row[1]] == [True, True]


def test_trivial_answers_of_a_part_stand_beside_those_of_the_whole(tmp_path):
    of_a_part(tmp_path)
    made_run(tmp_path, overall(30.0), **VQA)
    main = numbered(tmp_path, 2)[0].table
    whole, part = main.columns.index("overall"), main.columns.index("overall of answerable")
    rows = [row for row in main.rows if str(row[1]).startswith("always True")]
    assert sorted((row[whole] is None, row[part] is None) for row in rows) == [
        (False, True),
        (True, False),
    ]


def test_the_scoring_of_a_part_says_so_in_each_of_its_names(tmp_path):
    folder = made_run(tmp_path, overall(30.0) | {"always-normalised": 31.0}, **VQA)
    rewritten(folder, unanswerable=2)
    (group,) = groups_in(tmp_path)
    assert "always-normalised of answerable" in group.first.columns
    assert group.spread("always-normalised") is None


def test_a_title_counts_what_was_scored(tmp_path):
    made_run(tmp_path, overall(30.0), **VQA)
    folder = made_run(tmp_path, overall(50.0), **VQA, method="blindprompt")
    file = folder / "eval-val" / "metrics.json"
    file.write_text(file.read_text().replace('"examples": 6', '"examples": 4'))
    assert "4 or 6 examples of 'val'" in numbered(tmp_path, 2)[0].table.title


def test_seeds_of_a_fold_scored_on_other_examples_are_never_averaged(tmp_path):
    for seed in (0, 1):
        folder = made_run(tmp_path, labels(10.0 + 50 * seed), fold=1, seed=seed)
    rewritten(folder, ids_sha256="3" * 64)
    assert [group.spread("f1") for group in groups_in(tmp_path)] == [
        Spread(10.0, None, 1),
        Spread(60.0, None, 1),
    ]


def test_other_folds_are_marked(tmp_path):
    for fold in (1, 2):
        made_run(tmp_path, labels(10.0), fold=fold)
    made_run(tmp_path, labels(10.0), fold=1, method="blindprompt")
    both, single = labels_of(groups_in(tmp_path))
    assert both.startswith("promptfuse, scored 12 examples of 2 folds")
    assert single.startswith("blindprompt, scored 6 examples of 1 fold")


@pytest.mark.parametrize(
    "changes",
    [
        {"plm": T5, "prompt_length": 5},  # no other of T5, so there is nothing for table 5
        {"prompt_length": 5, "prompt_position": "end"},
        {"method": "linear", "features": {"image": FeatureUse("cc", "average", "small")}},
    ],
)
def test_no_run_is_left_out_of_every_table(tmp_path, changes):
    made_run(tmp_path, overall(30.0), **VQA)
    made_run(tmp_path, overall(31.0), **VQA, method="linear")
    made_run(tmp_path, overall(77.0), **(VQA | changes))
    shown = [cell for table in numbered(tmp_path, 2) for row in table.table.rows for cell in row]
    assert Spread(77.0, None, 1) in shown


@pytest.mark.parametrize(("encoder", "marked"), [("small", False), ("large", True)])
def test_decoded_media_are_marked_where_their_encoder_is_another(tmp_path, encoder, marked):
    media = {"video": FeatureUse("aa", "pooler", "small")}
    decoded = {"video": FeatureUse("cc", "pooler", encoder)}
    made_run(tmp_path, labels(50.0), features=media)
    made_run(tmp_path, labels(60.0), method="finetune", features=decoded)
    assert [" features " in label for label in labels_of(groups_in(tmp_path))] == [marked] * 2
