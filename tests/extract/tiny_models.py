"""Small random encoders, saved as real checkpoints: config, preprocessing, safetensors."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

WIDTH = 32
SIDE = 32
TOKENS = 17  # 4 x 4 patches and the class token

_TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}
_STAGES = {"image_size": SIDE, "patch_size": 4, "depths": [1, 1], "num_channels": 3}

#: `model_type` → the configuration of a small image tower.
TOWERS: dict[str, dict[str, Any]] = {
    "beit": {**_TOWER, "use_mean_pooling": True},
    "clip_vision_model": _TOWER,
    "convnext": {"hidden_sizes": [16, WIDTH], "depths": [1, 1], "num_stages": 2},
    "convnextv2": {"hidden_sizes": [16, WIDTH], "depths": [1, 1], "num_stages": 2},
    "data2vec-vision": {**_TOWER, "use_mean_pooling": True},
    "deit": _TOWER,
    "dinov2": {**_TOWER, "mlp_ratio": 2},
    "dinov2_with_registers": {**_TOWER, "mlp_ratio": 2},
    "dinov3_vit": _TOWER,
    "resnet": {"hidden_sizes": [16, WIDTH], "depths": [1, 1], "embedding_size": 16},
    "siglip_vision_model": _TOWER,
    "swin": {**_STAGES, "embed_dim": 16, "num_heads": [2, 2], "window_size": 4},
    "swinv2": {**_STAGES, "embed_dim": 16, "num_heads": [2, 2], "window_size": 4},
    "vit": _TOWER,
    "vit_msn": _TOWER,
}


def save_tower(folder: Path, model_type: str = "vit", *, seed: int = 0, **config: Any) -> Path:
    """Returns the folder of a small image tower with its preprocessing."""
    torch.manual_seed(seed)
    built = transformers.AutoConfig.for_model(model_type, **{**TOWERS[model_type], **config})
    model = transformers.AutoModel.from_config(built)
    with torch.no_grad():
        for parameter in model.parameters():  # some start as zeros, and would hide a wrong field
            parameter.add_(0.02 * torch.randn_like(parameter))
    return save(model, folder)


def save(model: Any, folder: Path) -> Path:
    """Returns the folder, a model and an image processor of its size in it."""
    model.save_pretrained(folder)
    write_processor(folder)
    return folder


def write_processor(folder: Path, **changes: Any) -> None:
    """Write a ViT-like preprocessor_config.json."""
    content = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": SIDE, "width": SIDE},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps({**content, **changes}))


def save_listener(
    folder: Path,
    model_type: str = "wav2vec2",
    *,
    norm: str = "group",
    normalise: bool = True,
    **config: Any,
) -> Path:
    """Returns the folder of a small audio encoder: 20 vectors a second of 1,600 Hz sound."""
    torch.manual_seed(0)
    built = transformers.AutoConfig.for_model(
        model_type,
        **{
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "conv_dim": [16, 16, 16],
            "conv_kernel": [10, 3, 3],
            "conv_stride": [5, 4, 4],
            "num_feat_extract_layers": 3,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 2,
            "feat_extract_norm": norm,
            "do_stable_layer_norm": norm == "layer",
            **config,
        },
    )
    transformers.AutoModel.from_config(built).save_pretrained(folder)
    processor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": normalise,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": norm == "layer",
        "sampling_rate": 1600,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


OPEN_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": SIDE,
        "layers": 2,
        "width": WIDTH,
        "patch_size": 8,
        "head_width": 16,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


def save_open_clip(folder: Path, **changes: Any) -> Path:
    """Returns the folder of a small open_clip model, in open_clip's own form."""
    import open_clip

    folder.mkdir(parents=True)
    config = {**OPEN_CLIP, **changes}
    preprocessing = {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.2, 0.1], "interpolation": "bilinear"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    )
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
