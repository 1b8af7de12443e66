"""Compose an experiment with Hydra and validate it with pydantic.

Every message names the file and the key that a person wrote, not the place where the mistake came to light.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from imagewright.config.bundle import BundleSection
from imagewright.config.data import DataConfig
from imagewright.config.evaluate import EvaluateConfig
from imagewright.config.export import ExportConfig
from imagewright.config.gate import GateConfig, GateSection
from imagewright.config.names import nearest
from imagewright.config.section import Section
from imagewright.config.select import SelectSection
from imagewright.config.sweep import SweepConfig, trial_name, trial_overrides
from imagewright.config.tensors import TensorsConfig, TensorsSection
from imagewright.config.tracking import TrackingConfig
from imagewright.config.train import AugmentConfig, LossConfig, ModelConfig, OptimizerConfig, TrainConfig, TrainSection
from imagewright.errors import ConfigError, first_line

SHARED = ("data", "tensors")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
DEFAULT_TRIAL = "default"
METRICS = {"classification": ("accuracy", "macro_f1"), "segmentation": ("dice", "miou")}


class ExperimentConfig(Section):
    """A whole experiment, validated."""

    data: DataConfig
    tensors: TensorsConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    augment: AugmentConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    export: ExportConfig
    gate: GateConfig
    tracking: TrackingConfig
    sweep: SweepConfig | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment under its name, with the data and tensors that it shares with others."""

    name: str
    overrides: tuple[str, ...]
    data: str
    tensors: str
    config: ExperimentConfig
    written: Mapping[str, Any]
    """What was composed, before validation filled in what is left out."""

    @property
    def tensors_section(self) -> TensorsSection:
        """What `tensors` reads."""
        return TensorsSection.of(self.config.data, self.config.tensors)

    @property
    def train_section(self) -> TrainSection:
        """What `train` reads."""
        config = self.config
        return TrainSection(
            model=config.model,
            loss=config.loss,
            optimizer=config.optimizer,
            augment=config.augment,
            train=config.train,
        )

    @property
    def gate_section(self) -> GateSection:
        """What `gate` reads."""
        config = self.config
        return GateSection(
            gate=config.gate,
            evaluate=config.evaluate,
            layout=config.data.layout,
            max_pixels=config.data.max_pixels,
        )

    def bundle_section(self, trials: Iterable[str]) -> BundleSection:
        """What `bundle` reads."""
        return BundleSection(
            experiment=self.name,
            data=self.data,
            tensors=f"{self.data}-{self.tensors}",
            trials=list(trials),
            overrides=list(self.overrides),
        )

    def select_section(self, trials: Mapping[str, "Trial"]) -> SelectSection:
        """What `select` reads."""
        train = self.config.train
        return SelectSection(
            trials={name: trial.values for name, trial in trials.items()},
            monitor=train.monitor,
            batch_size=train.batch_size,
            threads=train.threads,
        )


@dataclass(frozen=True)
class Trial:
    """One trial of an experiment: the values that a sweep gave it, and what `train` reads."""

    values: dict[str, Any]
    section: TrainSection


def compose_trials(config_dir: Path, experiment: Experiment) -> dict[str, Trial]:
    """The trials of an experiment by name, in order: those of its sweep, or one called `default`.

    Raises:
        ConfigError: a value is wrong, or two trials are the same.
    """
    sweep = experiment.config.sweep
    if sweep is None:
        return {DEFAULT_TRIAL: Trial({}, experiment.train_section)}
    base = experiment.name.split("~")[0]
    where = f"{config_dir / 'experiment' / base}.yaml: sweep"
    trials: dict[str, Trial] = {}
    known: dict[str, dict[str, Any]] = {}
    for values in sweep.values():
        overrides = trial_overrides(values)
        try:
            composed = compose_experiment(config_dir, base, [*experiment.overrides, *overrides])
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.problem}", error.remedy) from None
        content = composed.train_section.model_dump_json()
        if content in known:
            raise ConfigError(
                f"{where}: two trials are the same: {known[content]} and {values}",
                "a key that a later choice replaces has no effect; or take a value out, or another seed",
            )
        known[content] = values
        trials[trial_name(overrides)] = Trial(values, composed.train_section)
    return trials


def compose_experiment(config_dir: Path, experiment: str, overrides: Sequence[str] = ()) -> Experiment:
    """Compose and validate one experiment.

    Args:
        config_dir: the folder `config/`.
        experiment: the name of a file in `config/experiment/`, without its ending.
        overrides: Hydra overrides, such as `train.epochs=2`; they give the experiment a name of its own.

    Raises:
        ConfigError: a name, a key or a value is wrong.
    """
    file = config_dir / "experiment" / f"{experiment}.yaml"
    if not NAME.fullmatch(experiment) or not file.is_file():
        known = [path.stem for path in (config_dir / "experiment").glob("*.yaml")]
        raise ConfigError(f"experiment {experiment!r}: there is no {file}", nearest(experiment, known))
    _refuse_shared_overrides(file, overrides)
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
            composed = compose("defaults", [f"+experiment={experiment}", *overrides], return_hydra_config=True)
            choices = {group: choice for group, choice in composed.hydra.runtime.choices.items() if "/" not in group}
            del composed._content["hydra"]
            values: Any = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise _explain_hydra(error, config_dir, file, overrides) from None
    for group in SHARED:
        # They are names of files and folders, too, and parts of the shell's commands.
        if not NAME.fullmatch(name := str(choices[group])):
            raise ConfigError(
                f"{file}: {group} is {name!r}",
                f"rename config/{group}/{name}.yaml: Latin letters, digits, and after the first one also _ . and -",
            )
    try:
        config = ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise _explain_pydantic(error, values, config_dir, file, choices, overrides) from None
    for key, problem, remedy in _misfits(config):
        where = _blame(tuple(key.split(".")), config_dir, file, choices, overrides)
        raise ConfigError(f"{where}: {key} {problem}", remedy)
    ordered = tuple(sorted(overrides))
    suffix = f"~{hashlib.sha256(' '.join(ordered).encode()).hexdigest()[:8]}" if ordered else ""
    return Experiment(experiment + suffix, ordered, str(choices["data"]), str(choices["tensors"]), config, values)


def compose_shared(config_dir: Path, group: str, choice: str) -> dict[str, Any]:
    """A file of `config/data/` or `config/tensors/` alone, with no experiment around it: what all experiments share.

    Raises:
        ConfigError: it is wrong, or takes a value from outside of itself.
    """
    file = config_dir / group / f"{choice}.yaml"
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
            values: Any = OmegaConf.to_container(compose(f"{group}/{choice}"), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(
            f"{file}: {first_line(error)}", f"{group} is shared between experiments: give it values of its own"
        ) from None
    return dict(values[group])


def check_shared(values: Mapping[str, Any], alone: Mapping[str, Any], file: Path, experiment: str) -> None:
    """Stop if an experiment reads its data or tensors otherwise than their file says, whichever way it did that.

    Args:
        values: `data` or `tensors` as composed for the experiment, before validation.
        alone: the same as `compose_shared` has it.
        file: where that stands.
        experiment: the experiment's name.

    Raises:
        ConfigError: they differ; the first key is named.
    """
    if key := next((key for key in {**alone, **values} if values.get(key) != alone.get(key)), None):
        raise ConfigError(
            f"experiment {experiment}: {key} is {values.get(key)!r} instead of {alone.get(key)!r}, as {file} has it",
            f"experiments share {file.parent.name}: write a file of its own in {file.parent}/ and choose that",
        )


def _misfits(config: ExperimentConfig) -> Iterator[tuple[str, str, str]]:
    """Keys whose values are right alone and wrong together: the key, the problem and what to do."""
    task, loss, train, augment = config.data.task, config.loss, config.train, config.augment
    masks = task == "segmentation"
    if train.monitor not in METRICS[task]:
        shown = f"is {train.monitor!r}, which {task} does not measure"
        yield "train.monitor", shown, f"use one of: {', '.join(METRICS[task])}"
    if not masks and loss.name.startswith("dice"):
        yield "loss.name", f"is {loss.name!r}, which is for masks", "choose cross_entropy or focal"
    if masks and train.sampling == "balanced":
        yield "train.sampling", "is 'balanced', but an image has pixels of many classes", "use loss.class_weights"
    if not masks and config.model.window:
        yield "model.window", "is for masks", "set it to null"
    for name in ("mixup", "cutmix"):
        if getattr(augment, name) and (masks or loss.name != "cross_entropy"):
            problem = "mixes labels, which only classification with cross_entropy can learn from"
            yield f"augment.{name}", problem, f"set augment.{name} to 0"
    if train.keep_statistics and config.model.pretrained == "none":
        problem = "is true, but model.pretrained is none: there are no statistics to keep"
        yield "train.keep_statistics", problem, "choose pretrained weights, or set train.keep_statistics to false"
    if train.freeze and config.model.pretrained == "none":
        problem = f"is {train.freeze!r}, but model.pretrained is none: what would be frozen is random"
        yield "train.freeze", problem, "choose pretrained weights, or set train.freeze to 0"


def _refuse_shared_overrides(file: Path, overrides: Sequence[str]) -> None:
    """Data and tensors are shared between experiments, so no experiment may bend them for itself."""
    written = load_yaml(file)
    for group in SHARED:
        values = written.get(group, {})
        found = [f"{file}: {group}.{key}" for key in values] if isinstance(values, dict) else [f"{file}: {group}"]
        found += [f"override {override}" for override in overrides if override.lstrip("+~").startswith(f"{group}.")]
        if found:
            raise ConfigError(
                f"{found[0]} may not be set by an experiment, since experiments share {group}",
                f"write a file of its own in config/{group}/ and choose it: `- override /{group}: <name>`",
            )


def _explain_hydra(error: Exception, config_dir: Path, file: Path, overrides: Sequence[str]) -> ConfigError:
    if isinstance(error, UnicodeDecodeError):
        file = next((path for path in config_dir.rglob("*.yaml") if error.object in path.read_bytes()), file)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return _explain_yaml(error, file)
    text = str(error)
    if match := re.search(r"(?:Could not find|Could not load) '([^'/]+)/([^']+)'", text):
        group, choice = match.groups()
        known = [path.stem for path in (config_dir / group).glob("*.yaml")]
        where = next((o for o in overrides if o.startswith(f"{group}=")), file)
        return ConfigError(f"{where}: there is no config/{group}/{choice}.yaml", nearest(choice, known))
    if match := re.search(r"You must specify '([^']+)'", text):
        group = match.group(1)
        return ConfigError(f"{file}: no {group} is chosen", f"add under defaults: `- override /{group}: <name>`")
    if match := re.search(r"[Cc]ould not override '([^']+)'", text):
        key = match.group(1)
        where = next((f"override {o}" for o in overrides if o.lstrip("+~").split("=")[0] == key), file)
        return ConfigError(f"{where}: unknown key {key!r}", nearest(key, _known_keys()))
    first = text.strip().splitlines()[0]
    return ConfigError(f"{file}: {first}", f"correct the file, or the overrides: {list(overrides)}")


def _explain_pydantic(
    error: ValidationError,
    values: dict[str, Any],
    config_dir: Path,
    file: Path,
    choices: dict[str, Any],
    overrides: Sequence[str],
) -> ConfigError:
    first = error.errors()[0]
    # Where a union is told apart by a key, pydantic puts that key's value into the path: leave out what is not a key.
    path: list[str] = []
    node: Any = values
    for step in map(str, first["loc"]):
        if isinstance(node, dict) and step in node:
            path, node = [*path, step], node[step]
        elif first["type"] == "missing" and step == str(first["loc"][-1]):
            path = [*path, step]
    key = ".".join(path)
    where = _blame(tuple(path), config_dir, file, choices, overrides)
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{where}: unknown key {key!r}", nearest(key, _known_keys()))
    if first["type"] == "missing":
        return ConfigError(f"{where}: {key} is missing", "add it; the other files of this folder show how")
    if first["type"] in ("literal_error", "union_tag_invalid"):
        context = first.get("ctx") or {}
        allowed = re.findall(r"'([^']+)'", str(context.get("expected") or context.get("expected_tags")))
        given = first["input"]
        if first["type"] == "union_tag_invalid":
            tag = str(context["discriminator"]).strip("'")
            given, key = given.get(tag), f"{key}.{tag}"
            where = _blame((*path, tag), config_dir, file, choices, overrides)
        return ConfigError(f"{where}: {key} is {given!r}", nearest(str(given), allowed))
    shown = "does not fit together" if isinstance(first["input"], dict) else f"is {first['input']!r}"
    return ConfigError(f"{where}: {key or 'the file'} {shown}", first["msg"].removeprefix("Value error, "))


def _blame(
    path: tuple[str, ...], config_dir: Path, file: Path, choices: dict[str, Any], overrides: Sequence[str]
) -> str:
    """The place where a person wrote the key: an override, the experiment's file, or a file of a group."""
    key = ".".join(path)
    for override in overrides:
        # An unknown key is named without the keys below it.
        if f"{override.lstrip('+~').split('=')[0]}.".startswith(f"{key}."):
            return f"override {override}"
    node: Any = load_yaml(file)
    for step in path:
        node = node.get(step) if isinstance(node, dict) else None
    group = path[0] if path else ""
    if node is not None or group not in choices:
        return str(file)
    return str(config_dir / group / f"{choices[group]}.yaml")


def load_yaml(file: Path) -> dict[str, Any]:
    """Read a file of `config/`; what is no mapping counts as empty.

    Raises:
        ConfigError: it is missing, or not YAML.
    """
    try:
        with file.open(encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", "every file of config/ has to be there and readable") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _explain_yaml(error, file) from None
    return content if isinstance(content, dict) else {}


def _explain_yaml(error: yaml.YAMLError | UnicodeDecodeError, file: Path) -> ConfigError:
    if isinstance(error, UnicodeDecodeError):
        return ConfigError(f"{file}: this is not UTF-8 text", "save it as UTF-8")
    # The error knows its file: Hydra has read others besides the experiment's.
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark else getattr(error, "name", file)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or first_line(error)
    return ConfigError(f"{where}: this is not YAML", str(reason))


def _known_keys() -> list[str]:
    """Every key of every section, dotted, for the nearest right name."""

    def walk(model: type[BaseModel], prefix: str) -> list[str]:
        keys: list[str] = []
        for name, field in model.model_fields.items():
            keys.append(prefix + name)
            for part in _models_in(field.annotation):
                keys += walk(part, f"{prefix}{name}.")
        return keys

    return walk(ExperimentConfig, "")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
