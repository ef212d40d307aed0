"""A small random BART with its own tokenizer, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

from promptfuse.train.plm.bart import BartPLM

WORDS = (
    "True False yes no red blue green one two what colour is the square how many nice day".split()
)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def small_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
    )


def small_bart_config(**changes: object) -> BartConfig:
    values = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 48,
        "dropout": 0.1,
        "init_std": 0.3,
        "scale_embedding": True,
        "forced_bos_token_id": 0,
        "num_beams": 4,
        "no_repeat_ngram_size": 3,
    }
    return BartConfig(**(values | changes))


def small_bart(seed: int = 0, **changes: object) -> BartPLM:
    torch.manual_seed(seed)
    model = BartForConditionalGeneration(small_bart_config(**changes))
    with torch.no_grad():
        model.final_logits_bias.normal_()
    identity = {"source": "small", "family": "bart", "weights_sha256": str(seed)}
    return BartPLM(model, small_tokenizer(), identity)


def save_small_bart(folder: Path, seed: int = 0, **changes: object) -> Path:
    plm = small_bart(seed, **changes)
    plm.model.save_pretrained(folder)
    plm.tokenizer.save_pretrained(folder)
    return folder
