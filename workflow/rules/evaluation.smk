# The selected model on the test split, and one page on all experiments.


rule evaluate:
    input:
        config=tracked("evaluate", "{experiment}"),
        given=files_of("select", "tensors", "index"),
    output:
        files=FILES["evaluate"],
        pictures=shown("evaluate", "3 Evaluation"),
    log:
        "logs/evaluate/{experiment}/job.log",
    benchmark:
        "results/benchmark/evaluate/{experiment}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=120,
    params:
        at=folders("select", "tensors", "index", "evaluate"),
    message:
        "Evaluate {wildcards.experiment}"
    shell:
        "python scripts/evaluate.py --config {input.config[0]} --tracking {input.config[2]} --model {params.at[select]}"
        " --tensors {params.at[tensors]} --index {params.at[index]} --out {params.at[evaluate]} 2>&1 | tee {log} >&2"


rule report:
    input:
        config=section("report", "summary"),
        bundles=outputs("bundle"),
        pictures=outputs("evaluate") + outputs("select") + outputs("index"),
    output:
        tables=TABLES,
        summary=shown("report", "5 Summary"),
    log:
        "logs/report/summary/job.log",
    benchmark:
        "results/benchmark/report/summary.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        at=folders("report"),
    message:
        "Write the summary page"
    shell:
        "python scripts/report.py --config {input.config[0]} --results results --out {params.at[report]} 2>&1 | tee {log} >&2"
