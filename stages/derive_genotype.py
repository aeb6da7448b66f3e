"""python -m stages.derive_genotype: weights of the operations -> genotype, its drawings, its operations counted."""

from darts_core.pipeline import derive
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("derive_genotype") as running:
        derive.run(running)


if __name__ == "__main__":
    main()
