import json
import math
from dataclasses import fields

import pytest

from promptfuse.errors import RunError
from promptfuse.train.record import SEEDS, FeatureUse
from promptfuse.train.report.collect import read_losses, read_results
from promptfuse.train.report.groups import group_runs, labels_of
from promptfuse.train.runs.folders import run_folders
from promptfuse.train.settings import NOT_A_RESULT, RunSettings

from .made_runs import labels, made_run


def groups_in(root):
    return group_runs(read_results(run_folders(root))[0])


def test_a_group_is_the_seeds_of_one_setting(tmp_path):
    for seed, f1 in enumerate((10.0, 20.0, 60.0)):
        made_run(tmp_path, labels(f1), seed=seed)
    made_run(tmp_path, labels(5.0), method="blindprompt")
    first, second = groups_in(tmp_path)
    assert [run.record.settings.seed for run in first.results] == [0, 1, 2]
    spread = first.spread("f1")
    assert spread.mean == 30.0  # (10 + 20 + 60) / 3
    assert spread.std == pytest.approx(math.sqrt((400 + 100 + 900) / 2))
    assert spread.count == 3
    assert first.spread("accuracy") is None
    assert second.method == "blindprompt"


def test_of_a_seed_trained_twice_the_later_run_counts(tmp_path):
    made_run(tmp_path, labels(10.0))
    made_run(tmp_path, labels(30.0))
    (group,) = groups_in(tmp_path)
    assert [run.values["f1"] for run in group.results] == [30.0]


def test_a_fixed_data_seed_is_another_setting(tmp_path):
    made_run(tmp_path, labels(1.0), seed=1)
    made_run(tmp_path, labels(2.0), seed=2, data_seed=0)
    assert len(groups_in(tmp_path)) == 2


def test_labels_name_what_sets_apart(tmp_path):
    made_run(tmp_path, labels(1.0), batch_size=4)
    made_run(tmp_path, labels(2.0), batch_size=8, trainable_parameters=7)
    made_run(tmp_path, labels(3.0), method="blindprompt")
    assert labels_of(groups_in(tmp_path)) == [
        "promptfuse, batch_size 4",
        "promptfuse, batch_size 8",
        "blindprompt, batch_size 8",
    ]


def test_shots_are_words(tmp_path):
    made_run(tmp_path, labels(1.0))
    made_run(tmp_path, labels(1.0), shots=None)
    made_run(tmp_path, labels(1.0), shots=None, method="noprompt")
    assert [group.shots for group in groups_in(tmp_path)] == ["8", "full", "none"]


def test_what_is_not_evaluated_is_named(tmp_path):
    made_run(tmp_path, labels(1.0))
    absent = made_run(tmp_path)
    results, unevaluated = read_results(run_folders(tmp_path))
    assert len(results) == 1
    assert unevaluated == [absent.name]


def test_a_vqa_run_is_read_on_val(tmp_path):
    folder = made_run(tmp_path, {"overall": 30.0}, split="val", task="vqa", dataset="shapes")
    (folder / "eval-test").mkdir()
    (folder / "eval-test" / "metrics.json").write_text('{"metrics": null}')
    (result,) = read_results([folder])[0]
    assert (result.split, result.headline) == ("val", "overall")


def test_damaged_figures_are_named(tmp_path):
    folder = made_run(tmp_path, labels(1.0))
    (folder / "eval-test" / "metrics.json").write_text('{"metrics": {}}')
    with pytest.raises(
        RunError, match=r"metrics\.json holds no figures.*pfcli eval /.*/0001-jokes"
    ):
        read_results([folder])


def test_losses(tmp_path):
    assert read_losses(made_run(tmp_path, losses=(3.0, 2.5))) == [3.0, 2.5]
    assert read_losses(made_run(tmp_path, losses=())) == []


BART = {"source": "/m/bart", "family": "bart", "weights_sha256": "1"}
DINO = FeatureUse("dd", "pooler", "dino")
VIDEO = {"video": FeatureUse("aa", "pooler", "small")}


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"features": VIDEO}, "inputs video + text"),
        ({"features": VIDEO | {"audio": DINO}}, "audio features dd"),
        ({"lr_prompt": 0.1}, "lr_prompt 0.1"),
        ({"plm_dtype": "bfloat16"}, "plm_dtype bfloat16"),
        ({"plm": BART | {"source": "/m/other"}}, "plm other"),
        ({"plm": {"source": "/models/small", "weights_sha256": "2"}}, "plm identity"),
        ({"width_fix": "pad"}, "width_fix pad"),
        ({"pool": "none"}, "pool none"),
        ({"prompt_init": "random"}, "prompt_init random"),
        ({"train_norms": True}, "train_norms True"),
    ],
)
def test_what_differs_is_marked_whatever_the_method(tmp_path, changes, mark):
    made_run(tmp_path, labels(1.0))
    made_run(tmp_path, labels(2.0), method="blindprompt", **changes)
    groups = groups_in(tmp_path)
    assert len(groups) == 2
    assert mark in labels_of(groups)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {field.name: value}
        for field, value in (
            (field, {"float": 9.0, "int": 9}.get(type(field.default).__name__))
            for field in fields(RunSettings)
        )
        if value is not None and field.name not in (*SEEDS, *NOT_A_RESULT, "fold")
    ],
)
def test_every_number_among_the_settings_parts_groups(tmp_path, changes):
    made_run(tmp_path, labels(1.0))
    made_run(tmp_path, labels(2.0), seed=1, **changes)
    assert len(groups_in(tmp_path)) == 2


def test_seeds_scored_on_other_examples_are_never_averaged(tmp_path):
    made_run(tmp_path, labels(1.0), seed=0)
    folder = made_run(tmp_path, labels(3.0), seed=1)
    assert len(groups_in(tmp_path)) == 1
    file = folder / "eval-test" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ids_sha256": "1" * 64}))
    assert [group.spread("f1").mean for group in groups_in(tmp_path)] == [1.0, 3.0]
    assert labels_of(groups_in(tmp_path))[1] == "promptfuse, scored 6 examples, 11111111"


def test_answers_read_in_another_way_are_another_group(tmp_path):
    made_run(tmp_path, labels(1.0), seed=0)
    folder = made_run(tmp_path, labels(3.0), seed=1)
    file = folder / "eval-test" / "metrics.json"
    for how, count in (({"batch_size": 4}, 1), ({"max_new_tokens": 4}, 2)):
        summary = json.loads(file.read_text())
        summary["answering"] |= how
        file.write_text(json.dumps(summary))
        assert len(groups_in(tmp_path)) == count


def test_one_data_seed_for_three_seeds_is_one_group(tmp_path):
    for seed in range(3):
        made_run(tmp_path, labels(float(seed)), seed=seed, data_seed=0)
    (group,) = groups_in(tmp_path)
    assert [each.record.settings.seed for each in group.results] == [0, 1, 2]


def test_where_nothing_is_drawn_the_data_seed_says_nothing(tmp_path):
    for seed in range(2):
        made_run(tmp_path, labels(1.0), seed=seed, data_seed=7 * seed, shots=None)
    assert len(groups_in(tmp_path)) == 1


def test_a_part_of_a_split_has_no_overall_figure(tmp_path):
    folder = made_run(tmp_path, {"overall": 30.0, "number": 1.0}, split="val", task="vqa")
    file = folder / "eval-val" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"unanswerable": 4}))
    (group,) = groups_in(tmp_path)
    assert group.first.columns == ("overall of answerable", "number")
    assert group.first.headline == "overall of answerable"
    assert group.spread("overall") is None
