# The selected model on the test split, and one page on all experiments.


rule evaluate:
    input:
        config=tracked("evaluate", "{experiment}"),
        model=FILES["select"],
        tensors=files_of("meta", "test split"),
        index=files_of("table"),
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
    message:
        "Evaluate {wildcards.experiment}"
    shell:
        "python -m imagewright.cards {resources.gpu} python scripts/evaluate.py"
        " --config {input.config[0]} --tracking {input.config[2]} --model $(dirname {input.model[0]})"
        " --tensors $(dirname {input.tensors[0]}) --index $(dirname {input.index[0]}) --out $(dirname {output.files[0]}) 2>&1 | tee {log} >&2"


rule report:
    input:
        config=section("report", "summary"),
        # It reads more of their files, where Snakemake runs and all of them are.
        made=[one_of_each(stage) for stage in ("index", "select", "evaluate", "bundle")],
    output:
        # And beside it what DVC compares and plots, three files an experiment. They are no outputs: Snakemake would keep
        # a record of all inputs for each.
        summary=shown("report", "5 Summary"),
    log:
        "logs/report/summary/job.log",
    benchmark:
        "results/benchmark/report/summary.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "Write the summary page"
    shell:
        "python scripts/report.py --config {input.config[0]} --results results --out $(dirname {output.summary}) 2>&1 | tee {log} >&2"
