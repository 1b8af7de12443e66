"""Stage `train`: train one trial of an experiment."""

from imagewright.command import Config, Out, Tensors, run


def train(config: Config, tensors: Tensors, out: Out) -> None:
    """Train one trial: model.safetensors (the best epoch on val), history.csv and trial.json.

    \b
    Example:
      python scripts/train.py --config results/resolve/train/digits/default.yaml \\
        --tensors results/tensors/digits-gray28 --out results/train/digits/default
    """
    from imagewright.config.train import TrainSection
    from imagewright.files import staged
    from imagewright.train.trial import train_trial

    with staged(out) as work:
        train_trial(TrainSection.read(config), tensors, work)


if __name__ == "__main__":
    run(train)
