# The selected model on the test split, and one page on all experiments.


rule evaluate:
    input:
        config="results/resolve/evaluate/{experiment}.yaml",
        code="results/resolve/code/evaluate.json",
        model=files_of("select"),
        tensors=files_of("tensors"),
        index=files_of("index"),
    output:
        files=FILES["evaluate"],
        pictures=report(
            FILES["pictures"], "../report/evaluate.rst", category="2 Evaluation", subcategory="{experiment}"
        ),
    log:
        "logs/evaluate/{experiment}/job.log",
    benchmark:
        "logs/evaluate/{experiment}/benchmark.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=120,
    params:
        at=folders("select", "tensors", "index", "evaluate"),
    shell:
        "python scripts/evaluate.py --config {input.config} --model {params.at[select]} --tensors {params.at[tensors]}"
        " --index {params.at[index]} --out {params.at[evaluate]} 2>&1 | tee {log} >&2"


rule report:
    input:
        config="results/resolve/report/summary.yaml",
        code="results/resolve/code/report.json",
        bundles=outputs("bundle"),
        pictures=outputs("evaluate") + outputs("index"),
    output:
        summary=report(FILES["report"][0], "../report/summary.rst", category="4 Summary"),
    log:
        "logs/report/summary/job.log",
    benchmark:
        "logs/report/summary/benchmark.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        at=folders("report"),
    shell:
        "python scripts/report.py --config {input.config} --results results --out {params.at[report]} 2>&1 | tee {log} >&2"
