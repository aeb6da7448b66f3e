"""python -m stages.retrain: the searched network and everything that it is compared with, trained from scratch by one recipe."""

from darts_core.pipeline import retrain
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("retrain") as running:
        retrain.run(running)


if __name__ == "__main__":
    main()
