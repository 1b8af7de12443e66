# From tensors to the selected model.


rule train:
    input:
        config=trial_config,
        tensors=files_of("meta", "train split", "val split"),
    output:
        files=FILES["train"],
        pictures=shown("train", "2 Training"),
    log:
        "logs/train/{experiment}/{trial}/job.log",
    benchmark:
        "results/benchmark/train/{experiment}/{trial}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: needs("threads")
    resources:
        gpu=needs("processes"),
        mem_mb=8000,
        runtime=720,
    params:
        launcher=launcher,
    message:
        "Train {wildcards.experiment}, trial {wildcards.trial}"
    shell:
        "python -m imagewright.cards {resources.gpu} {params.launcher} scripts/train.py"
        " --config {input.config[0]} --tracking {input.config[2]} --tensors $(dirname {input.tensors[0]})"
        " --out $(dirname {output.files[0]}) --checkpoints runs/train/{wildcards.experiment}/{wildcards.trial} --evidence $(dirname {log}) 2>&1 | tee {log} >&2"


rule select:
    input:
        config=section("select", "{experiment}"),
        tensors=files_of("meta", "val split"),
        trials=files_of("train"),
    output:
        files=FILES["select"],
    log:
        "logs/select/{experiment}/job.log",
    benchmark:
        "results/benchmark/select/{experiment}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    message:
        "Select the best trial of {wildcards.experiment}"
    shell:
        # It has not asked for a card, so it takes none from a training beside it.
        "python -m imagewright.cards 0 python scripts/select_.py --config {input.config[0]} --trials $(dirname $(dirname {input.trials[0]}))"
        " --tensors $(dirname {input.tensors[0]}) --out $(dirname {output.files[0]}) 2>&1 | tee {log} >&2"
