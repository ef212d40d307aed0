"""What PEFT computes with an exported folder is what is computed here."""

import warnings
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import T5ForConditionalGeneration

from promptfuse.errors import RunError
from promptfuse.train.data import FusionData, open_sources
from promptfuse.train.data.selection import select
from promptfuse.train.fusion.sequence import arranged
from promptfuse.train.loop import fuse
from promptfuse.train.peft_folder import write_peft_folder
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import InputChoice, TrainSettings
from promptfuse.train.trained import load_prompt

from .small_bart import small_bart
from .small_bert import small_bert
from .small_runs import start_runs
from .small_t5 import small_t5

QUICK = TrainSettings(max_steps=3, batch_size=5, prompt_length=5, lr_prompt=0.3)


def trained(cache, tmp_path, plm, dataset="jokes", **changes):
    (folder,) = start_runs(cache, tmp_path / "runs", dataset, plm, replace(QUICK, **changes))
    finish_runs([folder], cache, plm, checkpoint_every=500, quiet=True)
    return load_prompt(folder)


def loaded_by_peft(plm, folder, tmp_path):
    plm.model.save_pretrained(tmp_path / "t5")
    base = T5ForConditionalGeneration.from_pretrained(tmp_path / "t5")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # PEFT warns of keys that it does not know or does not find
        return PeftModel.from_pretrained(base, folder).eval()


@pytest.mark.parametrize(
    ("dataset", "split", "changes"),
    [
        ("shapes", "val", {}),
        ("shapes", "val", {"prompt_encoder": "lstm"}),
        ("shapes", "val", {"method": "blackimage"}),
        ("shapes", "val", {"fields": {"image": "sequence"}}),
        ("jokes", "test", {"pool": "none"}),
    ],
    ids=str,
)
def test_peft_gives_the_same_logits(
    questions_cache, sarcasm_cache, tmp_path, dataset, split, changes
):
    plm = small_t5()
    prompt = trained(sarcasm_cache, tmp_path, plm, dataset, **changes)
    write_peft_folder(tmp_path / "peft", prompt)
    theirs = loaded_by_peft(plm, tmp_path / "peft", tmp_path)

    choice = InputChoice(fields=prompt.fields)
    selection = select(sarcasm_cache, dataset, split, choice)
    data = FusionData(selection.table, open_sources(selection, plm), plm, prompt.fusion)
    everything = list(range(len(data)))
    with torch.inference_mode():
        own = {name: one[None] for name, one in prompt.parameters.items()}
        fused = fuse(plm, data, own, everything)
        ours = plm.label_logits(fused, torch.arange(plm.model.config.vocab_size))
        inputs, _ = arranged(plm, data.segments(everything))  # visual ; text, padding last
        start = torch.zeros(len(data), 1, dtype=torch.long)
        given = theirs(
            inputs_embeds=inputs.vectors,
            attention_mask=inputs.present.long(),
            decoder_input_ids=start,
        )
        without = theirs.get_base_model()(
            inputs_embeds=inputs.vectors,
            attention_mask=inputs.present.long(),
            decoder_input_ids=start,
        )
    assert not inputs.present.all()  # so that padding is put to the test too
    torch.testing.assert_close(given.logits[:, -1], ours, atol=1e-5, rtol=0)
    assert (without.logits[:, -1] - ours).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "blindprompt"}, "this run's visibility is 'blind'"),
        ({"visibility": "reverse"}, "this run's visibility is 'reverse'"),
        ({"prompt_position": "end"}, "PEFT puts the prompt at the start, .* 'end'"),
        ({"prompt_position": "middle"}, "PEFT puts the prompt at the start, .* 'middle'"),
        ({"method": "noprompt"}, "noprompt has no prompt"),
        ({"method": "linear"}, r"linear has no prompt; .*'projection\.weight'"),
        ({"method": "jointproj"}, r"jointproj has no prompt; .*'projection\.weight'"),
    ],
    ids=str,
)
def test_what_peft_cannot_express_is_refused(sarcasm_cache, tmp_path, changes, message):
    prompt = trained(sarcasm_cache, tmp_path, small_t5(), **changes)
    with pytest.raises(RunError, match=f"cannot be written for PEFT: .*{message}"):
        write_peft_folder(tmp_path / "peft", prompt)
    assert not (tmp_path / "peft").exists()


@pytest.mark.parametrize(("family", "make"), [("bart", small_bart), ("bert", small_bert)])
def test_positions_a_segment_and_norms_are_refused(sarcasm_cache, tmp_path, family, make):
    prompt = trained(sarcasm_cache, tmp_path, make())
    with pytest.raises(RunError, match=f"{family} counts positions in each segment"):
        write_peft_folder(tmp_path / "peft", prompt)


def test_trained_norms_are_refused(sarcasm_cache, tmp_path):
    prompt = trained(sarcasm_cache, tmp_path, small_bart(), train_norms=True)
    with pytest.raises(RunError, match=r"this run also trained \['norm\.audio\.bias', "):
        write_peft_folder(tmp_path / "peft", prompt)
