"""Stage `evaluate`: score the selected model on the test split."""

from imagewright.command import RUNS, Config, Index, Model, Out, Tensors, Tracking, run


def evaluate(config: Config, model: Model, tensors: Tensors, index: Index, out: Out, tracking: Tracking = None) -> None:
    """Write metrics.json, predictions.parquet and pictures for the selected model on the test split.

    \b
    Example:
      python scripts/evaluate.py --config results/resolve/evaluate/digits.yaml --model results/select/digits \\
        --tensors results/tensors/digits-gray28 --index results/index/digits --out results/evaluate/digits
    """
    from imagewright.config.evaluate import EvaluateConfig
    from imagewright.config.tracking import TrackingConfig
    from imagewright.evaluate.score import evaluate_model
    from imagewright.files import staged
    from imagewright.tracking import tracked

    section, settings = EvaluateConfig.read(config), TrackingConfig.read_or_off(tracking)
    with (
        staged(out) as work,
        tracked(settings, RUNS, job="evaluate", experiment=out.name, values=section.to_dict()) as tracker,
    ):
        evaluate_model(section, model, tensors, index, work, tracker, settings.pictures)


if __name__ == "__main__":
    run(evaluate)
