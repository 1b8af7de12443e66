# From the selected model to the one folder that is served.


rule export:
    input:
        config=section("export", "{experiment}"),
        model=files_of("select"),
        tensors=files_of("tensors"),
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
    params:
        at=folders("select", "tensors", "export"),
    message:
        "Export {wildcards.experiment}"
    shell:
        "python scripts/export.py --config {input.config[0]} --model {params.at[select]} --tensors {params.at[tensors]}"
        " --out {params.at[export]} 2>&1 | tee {log} >&2"


rule gate:
    input:
        config=section("gate", "{experiment}"),
        given=files_of("select", "export", "tensors", "evaluate"),
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
    params:
        at=folders("select", "export", "tensors", "evaluate", "gate"),
    message:
        "Judge {wildcards.experiment}"
    shell:
        "python scripts/gate.py --config {input.config[0]} --model {params.at[select]} --exported {params.at[export]}"
        " --tensors {params.at[tensors]} --evaluated {params.at[evaluate]} --out {params.at[gate]}"
        " --evidence $(dirname {log}) 2>&1 | tee {log} >&2"


rule bundle:
    input:
        config=tracked("bundle", "{experiment}"),
        provenance=provenance,
        gathered=files_of("index", "tensors", "train", "select", "evaluate", "export", "gate"),
    output:
        files=FILES["bundle"],
        card=shown("bundle", "4 Bundle"),
    log:
        "logs/bundle/{experiment}/job.log",
    benchmark:
        "results/benchmark/bundle/{experiment}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        at=folders("bundle"),
    message:
        "Bundle {wildcards.experiment}"
    shell:
        "python scripts/bundle.py --config {input.config[0]} --tracking {input.config[2]} --results results"
        " --lock requirements.lock --workflow Snakefile --out {params.at[bundle]} 2>&1 | tee {log} >&2"
