# From the selected model to the one folder that is served.


rule export:
    input:
        config=section("export", "{experiment}"),
        model=FILES["select"],
        tensors=files_of("train split"),
    output:
        files=FILES["export"],
    log:
        "logs/export/{experiment}/job.log",
    benchmark:
        "results/benchmark/export/{experiment}.tsv"
    conda:
        "../../envs/artifact.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    message:
        "Export {wildcards.experiment}"
    shell:
        "python scripts/export.py --config {input.config[0]} --model $(dirname {input.model[0]})"
        " --tensors $(dirname {input.tensors[0]}) --out $(dirname {output.files[0]}) 2>&1 | tee {log} >&2"


rule gate:
    input:
        config=section("gate", "{experiment}"),
        model=FILES["select"],
        exported=FILES["export"],
        tensors=files_of("meta", "test split"),
        raw=files_of("fetch", "table"),
        evaluated=FILES["evaluate"],
    output:
        verdict=FILES["gate"],
    log:
        "logs/gate/{experiment}/job.log",
    benchmark:
        "results/benchmark/gate/{experiment}.tsv"
    conda:
        "../../envs/artifact.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
    message:
        "Judge {wildcards.experiment}"
    shell:
        "python scripts/gate.py --config {input.config[0]} --model $(dirname {input.model[0]})"
        " --exported $(dirname {input.exported[0]}) --tensors $(dirname {input.tensors[0]}) --manifest {input.raw[0]} --index $(dirname {input.raw[1]})"
        " --evaluated $(dirname {input.evaluated[0]}) --out $(dirname {output.verdict}) --evidence $(dirname {log}) 2>&1 | tee {log} >&2"


rule bundle:
    input:
        config=tracked("bundle", "{experiment}"),
        provenance=["results/resolve/provenance/{experiment}.json", "requirements.lock"],
        gathered=files_of("index", "meta", "records"),
        # It has the hashes of the exported files, the model and its metrics, which are read as well.
        judged=FILES["gate"],
    output:
        files=FILES["bundle"],
        card=shown("bundle", "4 Bundle"),
    log:
        "logs/bundle/{experiment}/job.log",
    benchmark:
        "results/benchmark/bundle/{experiment}.tsv"
    # A second's work on the results that lie here, and it reads the benchmarks of all the others.
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "Bundle {wildcards.experiment}"
    shell:
        "python scripts/bundle.py --config {input.config[0]} --tracking {input.config[2]} --results results"
        " --lock requirements.lock --workflow Snakefile --out $(dirname {output.card}) 2>&1 | tee {log} >&2"
