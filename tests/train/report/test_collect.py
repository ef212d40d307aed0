import math

import pytest

from promptfuse.errors import RunError
from promptfuse.train.report.collect import group_runs, labels_of, read_losses, read_results
from promptfuse.train.runs import run_folders

from .made_runs import labels, made_run


def groups_in(root):
    return group_runs(read_results(run_folders(root))[0])


def test_a_group_is_the_seeds_of_one_setting(tmp_path):
    for seed, f1 in enumerate((10.0, 20.0, 60.0)):
        made_run(tmp_path, labels(f1), seed=seed)
    made_run(tmp_path, labels(5.0), method="blindprompt")
    first, second = groups_in(tmp_path)
    assert [one.record.settings.seed for one in first.results] == [0, 1, 2]
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
    assert [one.values["f1"] for one in group.results] == [30.0]


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
        "blindprompt",
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
    with pytest.raises(RunError, match=r"metrics\.json holds no figures.*pfcli eval 0001-jokes"):
        read_results([folder])


def test_losses(tmp_path):
    assert read_losses(made_run(tmp_path, losses=(3.0, 2.5))) == [3.0, 2.5]
    assert read_losses(made_run(tmp_path, losses=())) == []
