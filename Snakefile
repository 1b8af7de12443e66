# Imagewright's table of contents: what is built, where each stage's rule is, and the targets by stage.
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/artifact.smk"


report: "workflow/report/workflow.rst"


onsuccess:
    print_next()


onerror:
    print_errors()


# Every stage is named, not the last one alone: a job that failed before is then seen as missing.
rule all:
    default_target: True
    input:
        [wanted(stage) for stage in STAGES],
    message:
        "All is built: see results/report/summary.html"


rule fetch_all:
    input:
        wanted("fetch"),


rule index_all:
    input:
        wanted("index"),


rule tensors_all:
    input:
        wanted("tensors"),


rule train_all:
    input:
        wanted("train"),


rule select_all:
    input:
        wanted("select"),


rule evaluate_all:
    input:
        wanted("evaluate"),


rule export_all:
    input:
        wanted("export"),


rule gate_all:
    input:
        wanted("gate"),


rule bundle_all:
    input:
        wanted("bundle"),


rule report_all:
    input:
        wanted("report"),
