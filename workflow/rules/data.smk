# From a source to tensors: shared by every experiment on the same data.


rule fetch:
    input:
        config=section("fetch", "{data}"),
        listing=raw_listing,
    output:
        manifest=FILES["fetch"],
    log:
        "logs/fetch/{data}/job.log",
    benchmark:
        "results/benchmark/fetch/{data}.tsv"
    # It needs the network, which a cluster's nodes may not have.
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    message:
        "Fetch the raw data of {wildcards.data}"
    shell:
        "python scripts/fetch.py --config {input.config[0]} --raw data/raw/{wildcards.data} --manifest {output.manifest}"
        " 2>&1 | tee {log} >&2"


rule index:
    input:
        config=section("index", "{data}"),
        raw=FILES["fetch"],
    output:
        files=FILES["index"],
        contact=shown("index", "1 Data"),
    log:
        "logs/index/{data}/job.log",
    benchmark:
        "results/benchmark/index/{data}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    message:
        "Index {wildcards.data}"
    shell:
        "python scripts/index.py --config {input.config[0]} --raw data/raw/{wildcards.data}"
        " --out $(dirname {output.contact}) --evidence $(dirname {log}) --workers {threads} 2>&1 | tee {log} >&2"


rule tensors:
    input:
        config=section("tensors", "{tensors}"),
        raw=files_of("fetch"),
        index=files_of("index"),
    output:
        files=FILES["tensors"],
    log:
        "logs/tensors/{tensors}/job.log",
    benchmark:
        "results/benchmark/tensors/{tensors}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        raw=lambda wildcards: f"data/raw/{names_of(wildcards)['data']}",
    message:
        "Decode the tensors of {wildcards.tensors}"
    shell:
        "python scripts/tensors.py --config {input.config[0]} --raw {params.raw} --index $(dirname {input.index[0]})"
        " --out $(dirname {output.files[0]}) --workers {threads} 2>&1 | tee {log} >&2"
