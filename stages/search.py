"""python -m stages.search: prepared data -> alphas, their history, the supernet's weights."""

from darts_core.pipeline import search
from darts_core.pipeline.stage import stage


def main() -> None:
    """Run the stage on params.yaml."""
    with stage("search") as running:
        search.run(running)


if __name__ == "__main__":
    main()
