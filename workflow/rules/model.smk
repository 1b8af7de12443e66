# From tensors to the selected model.


rule train:
    input:
        config="results/resolve/train/{experiment}/{trial}.yaml",
        code="results/resolve/code/train.json",
        tensors=files_of("tensors"),
    output:
        files=FILES["train"],
    log:
        "logs/train/{experiment}/{trial}/job.log",
    benchmark:
        "logs/train/{experiment}/{trial}/benchmark.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=720,
    params:
        at=folders("tensors", "trial"),
    shell:
        "python scripts/train.py --config {input.config} --tensors {params.at[tensors]} --out {params.at[trial]}"
        " 2>&1 | tee {log} >&2"


rule select:
    input:
        config="results/resolve/select/{experiment}.yaml",
        code="results/resolve/code/select.json",
        tensors=files_of("tensors"),
        trials=files_of("train"),
    output:
        files=FILES["select"],
    log:
        "logs/select/{experiment}/job.log",
    benchmark:
        "logs/select/{experiment}/benchmark.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        at=folders("train", "tensors", "select"),
    shell:
        "python scripts/select_.py --config {input.config} --trials {params.at[train]} --tensors {params.at[tensors]}"
        " --out {params.at[select]} 2>&1 | tee {log} >&2"
