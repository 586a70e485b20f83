"""What a run asks a Ray cluster for: a YAML file, ``--executor_settings``."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RaySettings:
    """What each run asks Ray for.

    Args:
        gpus: Number of GPUs of a run; 1 if left out, or none where the cluster has none or a recipe runs on the CPU.
        cpus: Number of processor cores of a run; if left out, its GPUs' share of a node's, or all of a node's without
            GPUs, since runs that share a processor measure neither memory nor time.
        resources: Further resources of a node that a run takes up, such as ``{"accelerator_type:H100": 0.001}``: times
            and memory are compared within one kind of card.
        environment: Environment variables of a run, besides those that its node has.
        python: The Python interpreter of the nodes; the one that runs ``compare`` if left out.
    """

    gpus: int | None = None
    cpus: int | None = None
    resources: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    python: str | None = None
