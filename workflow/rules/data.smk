# From a source to tensors: shared by every experiment on the same data.


rule fetch:
    input:
        config="results/resolve/fetch/{data}.yaml",
        code="results/resolve/code/fetch.json",
        listing=raw_listing,
    output:
        manifest=FILES["fetch"],
    log:
        "logs/fetch/{data}/job.log",
    benchmark:
        "logs/fetch/{data}/benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        at=folders("raw"),
    shell:
        "python scripts/fetch.py --config {input.config} --raw {params.at[raw]} --manifest {output.manifest}"
        " 2>&1 | tee {log} >&2"


rule index:
    input:
        config="results/resolve/index/{data}.yaml",
        code="results/resolve/code/index.json",
        raw=files_of("fetch"),
    output:
        files=FILES["index"],
        contact=report(FILES["contact"], "../report/contact.rst", category="1 Data", subcategory="{data}"),
    log:
        "logs/index/{data}/job.log",
    benchmark:
        "logs/index/{data}/benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        at=folders("raw", "index"),
    shell:
        "python scripts/index.py --config {input.config} --raw {params.at[raw]} --out {params.at[index]}"
        " --evidence $(dirname {log}) --workers {threads} 2>&1 | tee {log} >&2"


rule tensors:
    input:
        config="results/resolve/tensors/{tensors}.yaml",
        code="results/resolve/code/tensors.json",
        raw=files_of("fetch"),
        index=files_of("index"),
    output:
        files=FILES["tensors"],
    log:
        "logs/tensors/{tensors}/job.log",
    benchmark:
        "logs/tensors/{tensors}/benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        at=folders("raw", "index", "tensors"),
    shell:
        "python scripts/tensors.py --config {input.config} --raw {params.at[raw]} --index {params.at[index]}"
        " --out {params.at[tensors]} --workers {threads} 2>&1 | tee {log} >&2"
