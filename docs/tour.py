"""The library in one sitting: `python docs/tour.py`, half a minute on the embedded images.

It works in the folder it is run from: features, runs and pictures lie under `pf/`.
"""

from pathlib import Path

from torch.utils.data import DataLoader

import promptfuse as pf

# Encode every image once. What is in the cache already is left alone.
extraction = pf.extract(dataset="demo-vqa", modality=["image"])
print(f"{extraction.ingested.info.splits}, {extraction.failed} media failed")

# Read the cache: as NumPy, or as batches for a trainer of your own.
cache = pf.open_cache("pf/cache")
questions = cache.examples("demo-vqa", "val")
vectors = cache.read(questions.take(range(8)), "image")
print(f"{questions.texts[0]} {questions.answers[0]}; 8 images are {vectors.values.shape}")

joined = pf.FeatureDataset(cache, "demo-vqa", "train")
batch = next(iter(DataLoader(joined, batch_size=32, collate_fn=joined.collate)))
print(f"a batch: {len(batch['text'])} questions, images {tuple(batch['image'].shape)}")

# Train two prompts side by side, on the same 256 examples; then score them.
runs = pf.train(
    dataset="demo-vqa", method="blindprompt", shots=256, seeds=2, data_seed=0, max_steps=100
)
for run in runs:
    evaluation = run.evaluate()
    if evaluation.metrics is not None:  # None where a split has no answers to compare with
        print(f"{run.name}: {evaluation.metrics.values['overall']:.1f} % of {evaluation.split}")

# A trained prompt answers about any file.
prompt = pf.load_prompt(runs[0].folder)
picture = Path("pf/data/demo-vqa") / questions.row(0).paths["image"]
print(f"{questions.texts[0]} {prompt.answer(questions.texts[0], image=picture).text}")

# Every evaluated run in one report: the paper's tables, as text, Markdown, LaTeX, CSV or a page.
print(pf.report().text())
