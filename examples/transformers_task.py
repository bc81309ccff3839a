"""A Trainer of Transformers as a task: handwritten digits, read row by row. See docs/own_scripts.md."""

import tempfile
from typing import Any

import torch
import transformers
from own_script import digits

import lrcontrol as lrc
from lrcontrol.interop import transformers_task


def pictures(split: int) -> list[dict[str, torch.Tensor]]:
    """Pictures of 8 by 8 points and their labels, as the trainer takes them."""
    inputs, labels = digits()[split].tensors
    return [
        {"pixel_values": picture.view(1, 8, 8), "labels": label} for picture, label in zip(inputs, labels, strict=True)
    ]


def accuracy(judged: Any) -> dict[str, float]:
    """The share of pictures whose largest output is the label's."""
    return {"accuracy": float((judged.predictions.argmax(1) == judged.label_ids).mean())}


@transformers_task(metric="eval_loss", direction="minimize", full_steps=100, base_lr=3e-3, prepare=digits)
def train(run: lrc.Run) -> transformers.Trainer:
    """A vision transformer of one layer, with the trainer's own AdamW. What the run sets need not be given."""
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=8, patch_size=2, num_channels=1, hidden_size=64, num_hidden_layers=1,
            num_attention_heads=2, intermediate_size=64, num_labels=10,
        )
    )  # fmt: skip
    args = transformers.TrainingArguments(
        output_dir=tempfile.gettempdir(),
        per_device_train_batch_size=64,
        per_device_eval_batch_size=360,
        learning_rate=3e-3,
        report_to="none",
        use_cpu=True,
    )
    return transformers.Trainer(
        model, args, train_dataset=pictures(0), eval_dataset=pictures(1), compute_metrics=accuracy
    )


if __name__ == "__main__":
    found = lrc.select(train, budget="6runs", seed=0)
    print(found.method, found.base_lr, found.record.final)
