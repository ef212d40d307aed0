import pytest

from promptfuse.tables import Spread
from promptfuse.train.record import FeatureUse
from promptfuse.train.report.collect import read_results
from promptfuse.train.report.groups import group_runs
from promptfuse.train.report.paper import is_papers_setting, method_rank, paper_table
from promptfuse.train.report.paper_tables import (
    agreement,
    all_tables,
    in_words,
    order_tables,
)
from promptfuse.train.runs.folders import run_folders

from .made_runs import PAPER_AUDIO, PAPER_PLM, PAPER_VIDEO, labels, made_run

PAPERS_MUSTARD = {
    "dataset": "mustard",
    "plm": PAPER_PLM,
    "features": {"video": PAPER_VIDEO, "audio": PAPER_AUDIO},
}
VQA = {
    "dataset": "shapes",
    "task": "vqa",
    "split": "val",
    "shots": None,
    "features": {"image": FeatureUse("cc", "pooler", "small")},
}
PAPERS_VQA = VQA | {
    "preset": "vqav2_full",
    "epochs": 2,
    "batch_size": 32,
    "train_examples": 443_757,
    "dataset": "vqav2",
    "plm": PAPER_PLM,
    "features": {"image": PAPER_VIDEO},
}


def groups_in(root):
    return group_runs(read_results(run_folders(root))[0])


def tables_in(root):
    return all_tables(groups_in(root))


def numbered(root, number):
    return [shown for shown in tables_in(root) if shown.number == number]


def overall(value):
    return {"overall": value, "yes/no": 60.0, "number": 20.0, "other": 10.0}


def test_the_papers_figures_are_those_printed_there():
    # spot checks against the paper: table 2 row BlindPrompt full, table 4 row PromptFuse 32,
    # table 5 length 60, table 6 LSTM, table 7 T5
    assert paper_table(2).figures("full", "blindprompt")["overall"] == Spread(34.8, 0.8, 3)
    assert paper_table(4).figures("32", "promptfuse")["recall"] == Spread(71.1, 10.8, 10)
    assert paper_table(5).figures(60, "promptfuse") == {"overall": Spread(35.8, None, 3)}
    lstm = paper_table(6).figures("prompt_encoder lstm", "blindprompt")
    assert lstm == {"overall": Spread(35.1, 0.4, 3)}
    assert paper_table(7).figures("t5", "promptfuse")["other"] == Spread(15.8, 0.7, 3)
    assert "overall" not in paper_table(7).figures("bert", "promptfuse")
    assert paper_table(2).figures("full", "noprompt") == {}


def test_methods_stand_as_in_the_papers_tables():
    listed = ["finetune", "linear", "jointproj", "blackimage", "promptfuse", "blindprompt"]
    assert [method_rank(name) for name in listed] == [0, 1, 2, 3, 4, 5]
    assert method_rank("noprompt") < 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (PAPERS_MUSTARD, True),
        (PAPERS_MUSTARD | {"dataset": "demo-mustard"}, False),
        (PAPERS_MUSTARD | {"fold": 1}, False),
        (PAPERS_MUSTARD | {"plm": {"source": "/models/bart"}}, False),
        (PAPERS_MUSTARD | {"features": {"video": PAPER_VIDEO}}, False),
        (
            PAPERS_MUSTARD
            | {"features": {"video": FeatureUse("x", "pooler", "dinov2"), "audio": PAPER_AUDIO}},
            False,
        ),
    ],
)
def test_the_papers_setting_is_its_data_its_models_and_all_its_settings(
    tmp_path, changes, expected
):
    made_run(tmp_path, labels(1.0), **changes)
    (result,) = read_results(run_folders(tmp_path))[0]
    assert is_papers_setting(result) is expected


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_prompt": 1e-9, "max_steps": 1},
        {"max_steps": 1},
        {"epochs": 5},
        {"batch_size": 32},
        {"plm_dtype": "bfloat16"},
        {"train_norms": True},
        {"pool": "none"},
        {"dev": 4},
    ],
)
def test_the_papers_figures_stand_only_beside_runs_of_its_setting(tmp_path, changes):
    made_run(tmp_path, labels(51.0), **(PAPERS_MUSTARD | {"train_examples": 64} | changes))
    mine, papers = numbered(tmp_path, 4)
    assert papers.papers
    assert not any("the paper's" in str(row[1]) for row in mine.table.rows)


def test_a_part_of_the_papers_split_is_not_its_setting(tmp_path):
    folder = made_run(tmp_path, labels(51.0), **PAPERS_MUSTARD)
    file = folder / "eval-test" / "metrics.json"
    file.write_text(file.read_text().replace('"examples": 356', '"examples": 6'))
    assert not is_papers_setting(read_results([folder])[0][0])


def test_the_order_says_what_differs(tmp_path):
    made_run(tmp_path, labels(50.0))
    made_run(tmp_path, labels(60.0), method="blindprompt", plm_dtype="bfloat16")
    (order,) = order_tables(groups_in(tmp_path))
    assert order.table.rows[0][1] == "blindprompt, plm_dtype bfloat16 > promptfuse"
    assert order.table.rows[0][3] is None  # nothing to hold against the paper


def test_the_main_table_has_means_deviations_counts_and_trivial_answers(tmp_path):
    made_run(tmp_path, labels(40.0), seed=0)
    made_run(tmp_path, labels(44.0), seed=1)
    made_run(tmp_path, labels(70.0), shots=None, preset="mustard_full")
    made_run(tmp_path, labels(20.0), method="noprompt", shots=None, prompt_length=0)
    mine, papers = numbered(tmp_path, 4)
    # (40 + 44) / 2 = 42; deviations ∓2, so the sample deviation is √(8 / 1) = 2.83
    assert mine.table.text().split("\n") == [
        "Table 4. Methods: jokes, 6 examples of 'test', in percent",
        "shots  method          precision        recall            f1  runs",
        "──────────────────────────────────────────────────────────────────",
        "none   noprompt            50.00         60.00         20.00     1",
        "8      promptfuse   50.00 ± 0.00  60.00 ± 0.00  42.00 ± 2.83     2",
        "full   promptfuse          50.00         60.00         70.00     1",
        "none   always True         40.00         40.00         40.00     –",
    ]
    assert not mine.papers
    assert papers.papers
    assert papers.table.title == "The paper's table 4. MUStARD, in percent (not jokes)"
    assert len(papers.table.rows) == 12  # three methods at 8, 32, 64 shots and full


def test_in_the_papers_setting_its_figures_stand_under_each_row(tmp_path):
    made_run(tmp_path, labels(51.0), **PAPERS_MUSTARD)
    (mine,) = numbered(tmp_path, 4)
    assert mine.table.rows[1] == [
        "8", "the paper's promptfuse",
        Spread(41.1, 4.8, 10), Spread(71.0, 13.1, 10), Spread(53.1, 5.8, 10), 10,
    ]  # fmt: skip


def test_table_1_counts_parameters(tmp_path):
    made_run(tmp_path, labels(1.0))
    made_run(tmp_path, labels(1.0), seed=1)
    made_run(tmp_path, labels(1.0), method="blindprompt", trainable_parameters=15360)
    made_run(tmp_path, labels(1.0), method="finetune", trainable_parameters=180760960)
    (table,) = numbered(tmp_path, 1)
    assert table.table.rows == [
        ["finetune", "small", 16, "video + audio + text", 180760960, "180M"],
        ["promptfuse", "small", 16, "video + audio + text", 320, "15K"],
        ["blindprompt", "small", 16, "video + audio + text", 15360, "15K"],
    ]


def test_table_5_has_a_row_a_length_and_leaves_table_2_alone(tmp_path):
    for length, value in ((5, 20.0), (20, 30.0), (40, 25.0)):
        made_run(tmp_path, overall(value), **VQA, prompt_length=length)
    made_run(tmp_path, overall(31.0), **VQA, method="blindprompt")  # one length only
    mine, papers = numbered(tmp_path, 5)
    assert [row[1:4] for row in mine.table.rows] == [
        [5, "promptfuse", Spread(20.0, None, 1)],
        [20, "promptfuse", Spread(30.0, None, 1)],
        [40, "promptfuse", Spread(25.0, None, 1)],
    ]
    assert papers.table.rows[6] == [40, "promptfuse", Spread(35.3, None, 3), 3]
    main = numbered(tmp_path, 2)[0].table
    assert [row[1] for row in main.rows] == ["promptfuse", "blindprompt", "always True"]


def test_table_5_in_the_papers_setting(tmp_path):
    for length in (5, 20):
        made_run(tmp_path, overall(20.0), **PAPERS_VQA, prompt_length=length)
    (mine,) = numbered(tmp_path, 5)
    assert [row[1:4] for row in mine.table.rows] == [
        [5, "promptfuse", Spread(20.0, None, 1)],
        [5, "the paper's promptfuse", Spread(28.5, None, 3)],
        [20, "promptfuse", Spread(20.0, None, 1)],
        [20, "the paper's promptfuse", Spread(34.1, None, 3)],
    ]


def test_table_6_has_a_row_a_variant(tmp_path):
    made_run(tmp_path, overall(30.0), **VQA)
    average = VQA | {"features": {"image": FeatureUse("cc", "average", "small")}}
    made_run(tmp_path, overall(29.0), **average)
    mine, papers = numbered(tmp_path, 6)
    assert [row[1] for row in mine.table.rows] == ["baseline", "image field average"]
    assert papers.papers
    papers_average = PAPERS_VQA | {
        "features": {"image": FeatureUse("cc", "average", PAPER_VIDEO.encoder)}
    }
    made_run(tmp_path / "papers", overall(30.0), **PAPERS_VQA)
    made_run(tmp_path / "papers", overall(29.0), **papers_average)
    (mine,) = numbered(tmp_path / "papers", 6)
    assert [row[3] for row in mine.table.rows[1::2]] == [Spread(34.1, 0.4, 3), Spread(33.9, 0.5, 3)]


def test_table_7_needs_two_language_models(tmp_path):
    made_run(tmp_path, overall(30.0), **PAPERS_VQA)
    assert numbered(tmp_path, 7) == []
    t5 = {"source": "google-t5/t5-base", "family": "t5"}
    made_run(tmp_path, overall(32.0), **(PAPERS_VQA | {"plm": t5}))
    (mine,) = numbered(tmp_path, 7)
    assert [(row[0], row[2]) for row in mine.table.rows] == [
        ("bart-base", "promptfuse"),
        ("bart-base", "the paper's promptfuse"),
        ("t5-base", "promptfuse"),
        ("t5-base", "the paper's promptfuse"),
    ]
    assert mine.table.rows[3][3] == Spread(36.5, 0.4, 3)


def test_the_order_is_told_in_words(tmp_path):
    for seed, (fuse, blind) in enumerate(((50.0, 60.0), (52.0, 61.0))):
        made_run(tmp_path, labels(fuse), seed=seed)
        made_run(tmp_path, labels(blind), seed=seed, method="blindprompt")
    made_run(tmp_path, labels(10.0), method="blackimage")
    (order,) = order_tables(groups_in(tmp_path))
    assert order.number == 4
    # the paper at 8 shots: BlindPrompt 54.0 ± 6.1, PromptFuse 53.1 ± 5.8
    assert order.table.rows == [
        ["8", "blindprompt > promptfuse > blackimage", "blindprompt ≈ promptfuse", "1 of 1"]
    ]


def test_near_means_within_the_larger_deviation():
    figures = {"a": Spread(10.0, 0.5, 3), "b": Spread(12.0, 2.0, 3), "c": Spread(9.4, 0.1, 3)}
    assert in_words(figures) == "b ≈ a > c"


def test_agreement_counts_pairs():
    mine = {name: Spread(value, None, 1) for name, value in (("a", 3), ("b", 2), ("c", 1))}
    theirs = {name: Spread(value, None, 1) for name, value in (("a", 2), ("b", 3), ("c", 1))}
    assert agreement(mine, theirs) == "2 of 3"


def fold_runs(root, *, dataset="jokes", **changes):
    for fold, f1 in enumerate((20.0, 30.0, 70.0), 1):
        for seed in (0, 1):
            size = {"train_examples": 8 + fold}
            made_run(root, labels(f1), dataset=dataset, fold=fold, seed=seed, **(size | changes))


def test_folds_stand_in_a_table_of_their_own(tmp_path):
    made_run(tmp_path, labels(99.0))
    fold_runs(tmp_path)
    papers, folds = (shown.table for shown in numbered(tmp_path, 4) if not shown.papers)
    assert "6 examples of 'test', in percent" in papers.title
    assert "18 examples of 'test' in 3 folds" in folds.title
    row = dict(zip(folds.columns, folds.rows[0], strict=True))
    assert row["f1"].mean == 40.0
    assert row["f1"].std == pytest.approx((2 * (400 + 100 + 900) / 5) ** 0.5)
    assert (row["runs"], len(papers.rows[0]), papers.rows[0][-1]) == (6, len(folds.rows[0]), 1)
    trivial = dict(zip(folds.columns, folds.rows[1], strict=True))
    assert trivial["f1"] == Spread(40.0, 0.0, 3)


def test_the_papers_figures_are_not_beside_folds_or_other_splits(tmp_path):
    fold_runs(tmp_path / "folds", **PAPERS_MUSTARD)
    (only,) = numbered(tmp_path / "folds", 4)
    assert not any("paper" in str(row[1]) for row in only.table.rows)
    made_run(tmp_path / "dev", labels(1.0), split="dev", shots=8, **PAPERS_MUSTARD)
    own, papers = numbered(tmp_path / "dev", 4)
    assert papers.papers
    assert not any("paper" in str(row[1]) for row in own.table.rows)


def test_a_majority_that_changes_from_fold_to_fold_is_not_marked(tmp_path):
    fold_runs(tmp_path)
    (changed, *_) = tmp_path.glob("*/eval-test/metrics.json")
    changed.write_text(changed.read_text().replace("always True", "always True (majority)"))
    made = read_results([*run_folders(tmp_path)])[0]
    (group,) = group_runs([*made[1:], made[0]])
    assert list(group.trivial) == ["always True"]
    assert group.trivial["always True"]["f1"] == Spread(40.0, 0.0, 3)


def test_both_vqa_scorings_stand_side_by_side_where_a_run_has_both(tmp_path):
    made_run(tmp_path, overall(34.0) | {"always-normalised": 36.0}, **PAPERS_VQA)
    made_run(tmp_path, overall(30.0), method="blindprompt", **PAPERS_VQA)  # an older evaluation
    (table,) = (shown.table for shown in numbered(tmp_path, 2))
    assert table.columns[2:4] == ["overall", "always-normalised"]
    shown = {row[1]: row[3] for row in table.rows}
    assert shown["promptfuse"] == Spread(36.0, None, 1)
    assert shown["blindprompt"] is None
    assert shown["the paper's promptfuse"] is None
    assert max(map(len, table.text().splitlines())) <= 120


def test_weighted_f1_stands_beside_the_papers_columns_where_a_run_has_it(tmp_path):
    made_run(tmp_path, labels(50.0) | {"weighted_f1": 70.0}, **PAPERS_MUSTARD)
    made_run(tmp_path, labels(40.0), method="blindprompt", **PAPERS_MUSTARD)
    (table,) = (shown.table for shown in numbered(tmp_path, 4))
    assert table.columns[2:6] == ["precision", "recall", "f1", "weighted f1"]
    shown = {row[1]: row[4:6] for row in table.rows}
    assert shown["promptfuse"] == [Spread(50.0, None, 1), Spread(70.0, None, 1)]
    assert shown["blindprompt"] == [Spread(40.0, None, 1), None]
    assert shown["the paper's promptfuse"] == [Spread(53.1, 5.8, 10), None]


def test_another_plm_in_the_table_of_variants_is_marked(tmp_path):
    average = VQA | {"features": {"image": FeatureUse("cc", "average", "small")}}
    made_run(tmp_path, overall(30.0), **VQA)
    made_run(tmp_path, overall(29.0), **average)
    made_run(tmp_path, overall(32.0), **(VQA | {"plm": {"source": "t5", "family": "t5"}}))
    (mine, _) = numbered(tmp_path, 6)
    assert [row[1:3] for row in mine.table.rows][:2] == [
        ["baseline", "promptfuse, plm small"],
        ["baseline", "promptfuse, plm t5"],
    ]
