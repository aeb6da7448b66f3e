"""python -m stages.benchmark_hw: speed and memory of the network and its baselines on this device."""

from darts_core.pipeline import benchmark
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("benchmark_hw") as running:
        benchmark.run(running)


if __name__ == "__main__":
    main()
