"""python -m stages.evaluate: the one look at the test images, every network beside the searched one."""

from darts_core.pipeline import evaluate
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("evaluate") as running:
        evaluate.run(running)


if __name__ == "__main__":
    main()
