"""A small random T5 with its own tokenizer, for tests."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from promptfuse.train.plm.t5 import T5PLM

from .small_bart import WORDS

SPECIAL = ["<pad>", "</s>", "<unk>"]


def small_t5_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def small_t5(seed: int = 0, **changes: object) -> T5PLM:
    torch.manual_seed(seed)
    values = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 4,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 20,
        "dropout_rate": 0.1,
        "decoder_start_token_id": 0,
    }
    model = T5ForConditionalGeneration(T5Config(**(values | changes)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" in name:
                weight.normal_(mean=1.0, std=0.2)  # ones would hide a norm that is left out
            elif "relative_attention_bias" in name:
                weight.normal_()
            elif name != "shared.weight":
                weight.mul_(2)  # else the tied head gives the decoder's input back
    return T5PLM(
        model,
        small_t5_tokenizer(),
        {"source": "small", "family": "t5", "weights_sha256": f"t5-{seed}"},
    )
