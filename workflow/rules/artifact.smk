# From the selected model to the one folder that is served.


rule export:
    input:
        config="results/resolve/export/{experiment}.yaml",
        code="results/resolve/code/export.json",
        model=files_of("select"),
        tensors=files_of("tensors"),
    output:
        files=FILES["export"],
    log:
        "logs/export/{experiment}/job.log",
    benchmark:
        "logs/export/{experiment}/benchmark.tsv"
    conda:
        "../../envs/artifact.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        at=folders("select", "tensors", "export"),
    shell:
        "python scripts/export.py --config {input.config} --model {params.at[select]} --tensors {params.at[tensors]}"
        " --out {params.at[export]} 2>&1 | tee {log} >&2"


rule gate:
    input:
        config="results/resolve/gate/{experiment}.yaml",
        code="results/resolve/code/gate.json",
        model=files_of("select"),
        exported=files_of("export"),
        tensors=files_of("tensors"),
        evaluated=files_of("evaluate"),
    output:
        verdict=FILES["gate"],
    log:
        "logs/gate/{experiment}/job.log",
    benchmark:
        "logs/gate/{experiment}/benchmark.tsv"
    conda:
        "../../envs/artifact.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        at=folders("select", "export", "tensors", "evaluate", "gate"),
    shell:
        "python scripts/gate.py --config {input.config} --model {params.at[select]} --exported {params.at[export]}"
        " --tensors {params.at[tensors]} --evaluated {params.at[evaluate]} --out {params.at[gate]}"
        " --evidence $(dirname {log}) 2>&1 | tee {log} >&2"


rule bundle:
    input:
        config="results/resolve/bundle/{experiment}.yaml",
        code="results/resolve/code/bundle.json",
        lock="requirements.lock",
        provenance=provenance,
        gathered=files_of("index", "tensors", "train", "select", "evaluate", "export", "gate"),
    output:
        files=FILES["bundle"],
        card=report(FILES["card"], "../report/card.rst", category="3 Bundle", subcategory="{experiment}"),
    log:
        "logs/bundle/{experiment}/job.log",
    benchmark:
        "logs/bundle/{experiment}/benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        at=folders("bundle"),
    shell:
        "python scripts/bundle.py --config {input.config} --results results --lock {input.lock} --out {params.at[bundle]}"
        " 2>&1 | tee {log} >&2"
