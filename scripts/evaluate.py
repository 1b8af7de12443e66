"""Stage `evaluate`: score the selected model on the test split."""

from imagewright.command import Config, Index, Model, Out, Tensors, run


def evaluate(config: Config, model: Model, tensors: Tensors, index: Index, out: Out) -> None:
    """Write metrics.json, predictions.parquet and pictures for the selected model on the test split.

    \b
    Example:
      python scripts/evaluate.py --config results/resolve/evaluate/digits.yaml --model results/select/digits \\
        --tensors results/tensors/digits-gray28 --index results/index/digits --out results/evaluate/digits
    """
    from imagewright.config.evaluate import EvaluateConfig
    from imagewright.evaluate.score import evaluate_model
    from imagewright.files import staged

    with staged(out) as work:
        evaluate_model(EvaluateConfig.read(config), model, tensors, index, work)


if __name__ == "__main__":
    run(evaluate)
