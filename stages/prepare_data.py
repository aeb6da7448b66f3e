"""python -m stages.prepare_data: raw images -> uint8 arrays or a manifest, splits, statistics, a content hash."""

from darts_core.pipeline import prepare
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("prepare_data") as running:
        prepare.run(running)


if __name__ == "__main__":
    main()
