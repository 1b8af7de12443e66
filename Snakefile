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


# Every stage's outputs are named, not the last stage's alone: a job that failed before is then seen as missing.
rule all:
    default_target: True
    input:
        [outputs(stage) for stage in STAGES],
    message:
        "All is built: see results/report/summary.html"


rule fetch_all:
    input:
        outputs("fetch"),


rule index_all:
    input:
        outputs("index"),


rule tensors_all:
    input:
        outputs("tensors"),


rule train_all:
    input:
        outputs("train"),


rule select_all:
    input:
        outputs("select"),


rule evaluate_all:
    input:
        outputs("evaluate"),


rule export_all:
    input:
        outputs("export"),


rule gate_all:
    input:
        outputs("gate"),


rule bundle_all:
    input:
        outputs("bundle"),


rule report_all:
    input:
        outputs("report"),
