"""Stage `export`: write the selected model as ONNX."""

from imagewright.command import Config, Model, Out, Tensors, run


def export(config: Config, model: Model, tensors: Tensors, out: Out) -> None:
    """Write model.onnx, model.int8.onnx, and export.json, which says what they take and give.

    \b
    Example:
      python scripts/export.py --config results/resolve/export/digits.yaml --model results/select/digits \\
        --tensors results/tensors/digits-gray28 --out results/export/digits
    """
    from imagewright.config.export import ExportConfig
    from imagewright.export.write import export_model
    from imagewright.files import staged

    with staged(out) as work:
        export_model(ExportConfig.read(config), model, tensors, work)


if __name__ == "__main__":
    run(export)
