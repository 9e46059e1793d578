"""Weights & Biases: metrics, histograms, images, the configuration and a summary, online or into a folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from fastes.errors import StorageError, UserError
from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary
from fastes.report.distributions import Distributions
from fastes.report.service import check_installed, environment, remember, remembered

Mode = Literal["online", "offline", "disabled"]

_IDENTITY = "wandb.json"
_BINS = 64
# Nothing on the terminal, which shows the run; and no reports about itself, whose threads outlive it.
_ENVIRONMENT = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
_CREDENTIALS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


@dataclass(eq=False, kw_only=True)
class WandbReporter(Reporter):
    """Logs a run to Weights & Biases, under the id in `wandb.json` of the run's directory if there is one.

    project, entity, name, group, job_type, tags: as of `wandb.init`; name: empty for that of the run's directory; mode:
    "online", "offline" for the folder `wandb` in the run's directory, which `wandb sync` sends later, "disabled" for
    nothing; settings: further ones of `wandb.Settings`; timeout_s: how long to wait for the service at the start.

    Steps are finished generations. Generations that a resumed run makes again are not logged again. The terminal's
    output is left alone. Raises ValueError for settings out of range, UserError without the package `wandb` or a key,
    StorageError if the service cannot be reached.
    """

    project: str = "fastes"
    entity: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    mode: Mode = "online"
    settings: dict[str, Any] = field(default_factory=dict)
    timeout_s: float = 30.0
    _run: Any = field(default=None, init=False, repr=False)
    _is_only: bool = field(default=False, init=False, repr=False)
    _logged: int = field(default=0, init=False, repr=False)  # generations
    _distributions: Distributions = field(default_factory=Distributions, init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the settings."""
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {self.mode!r}.")
        if not 0 < self.timeout_s <= 3600:
            raise ValueError(f"timeout_s must be above 0 and at most 3600 seconds, not {self.timeout_s}.")
        if self.mode != "disabled":
            check_installed("wandb", "wandb", "Weights & Biases")

    def start(self, info: RunInfo) -> None:
        if self.mode == "disabled":
            return
        file = None if info.directory is None else info.directory / _IDENTITY
        known = remembered(file).get("id")
        run_id = known if isinstance(known, str) else secrets.token_hex(4)
        remember(file, {"id": run_id})
        with environment(**_ENVIRONMENT):
            import wandb
            from wandb.sdk import wandb_setup

            settings: dict[str, Any] = {"silent": True, "console": "off", "init_timeout": self.timeout_s}
            self._is_only = getattr(wandb_setup, "_singleton", None) is None
            if self.mode == "online" and not (any(map(os.environ.get, _CREDENTIALS)) or wandb.api.api_key):
                self._leave()
                raise UserError('Weights & Biases wants a key: `wandb login`, or WANDB_API_KEY, or mode = "offline".')
            try:
                self._run = wandb.init(
                    project=self.project,
                    entity=self.entity or None,
                    name=self.name or (info.directory.name if info.directory is not None else info.title),
                    group=self.group or None,
                    job_type=self.job_type or None,
                    tags=self.tags,
                    mode=self.mode,
                    dir=None if info.directory is None else str(info.directory),
                    id=run_id,
                    resume="allow",
                    config=dict(info.config) | dict(info.hparams),
                    reinit="create_new",
                    settings=wandb.Settings(**settings | self.settings),
                )
            except (wandb.Error, ValueError) as error:  # ValueError: of settings
                self._leave()
                raise StorageError(f"Weights & Biases cannot be used: {' '.join(str(error).split())}.") from error
        self._logged = max(int(self._run.step) - 1, 0)

    def write(self, report: GenerationReport) -> None:
        histograms = self._distributions.of(report)
        if self._run is None or report.generation <= self._logged:
            return
        import wandb

        told: dict[str, Any] = report.metrics | {"generation": report.generation, "seconds": report.seconds}
        told |= {f"histogram/{name}": _histogram(values) for name, values in histograms.items()}
        told |= {f"image/{name}": wandb.Image(image) for name, image in report.images.items()}
        with environment(**_ENVIRONMENT):
            self._run.log(told, step=report.generation)

    def close(self, summary: RunSummary | None) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        with environment(**_ENVIRONMENT):
            try:
                if summary is not None:
                    run.summary.update(_told(summary))
                run.finish(exit_code=0 if summary is not None else 1)
            finally:
                self._leave()

    def _leave(self) -> None:
        """Ends wandb's own process and threads, unless others use them."""
        if self._is_only:
            import wandb

            wandb.teardown()


def _histogram(values: Any) -> Any:
    import wandb

    return wandb.Histogram(np_histogram=np.histogram(values.astype(np.float64), bins=_BINS))


def _told(summary: RunSummary) -> Mapping[str, Any]:
    """What the run came to, without what its metrics say."""
    return {
        "status": summary.status,
        "digest": summary.digest,
        "evaluations": summary.evaluations,
        "steps": summary.steps,
        "evaluation_mean": summary.evaluation_mean,
        "evaluation_std": summary.evaluation_std,
    }
