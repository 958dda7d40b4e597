"""Learns to tell the lines apart, by logistic regression."""

from pathlib import Path

import numpy
from tracking import Cmf

EPOCHS, RATE = 20, 0.5

metawriter = Cmf(filepath="mlmd", pipeline_name="text-example")
metawriter.create_context(pipeline_stage="Train")
metawriter.create_execution(execution_type="Train", custom_properties={"epochs": EPOCHS, "lr": RATE, "optimizer": "sgd"})
metawriter.log_dataset("artifacts/features/train.npy", "input")

table = numpy.load("artifacts/features/train.npy")
labels, inputs = table[:, 0], table[:, 1:]
weights = numpy.zeros(inputs.shape[1])
for epoch in range(EPOCHS):
    guesses = 1 / (1 + numpy.exp(-inputs @ weights))
    loss = -numpy.mean(labels * numpy.log(guesses) + (1 - labels) * numpy.log(1 - guesses))
    weights -= RATE * inputs.T @ (guesses - labels) / len(labels)
    metawriter.log_metric("training_metrics", {"epoch": epoch, "train_loss": float(loss), "phase": "fit"})
metawriter.commit_metrics("training_metrics")

model = Path("artifacts/model/model.npy")
model.parent.mkdir(exist_ok=True)
numpy.save(model, weights)
metawriter.log_model(
    path=str(model), event="output", model_framework="numpy", model_type="LogisticRegression", model_name="text:default",
    custom_properties={"weights": len(weights)},
)  # fmt: skip
metawriter.finalize()
