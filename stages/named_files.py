"""python -m stages.named_files: a hash of every file that params.yaml names, so that DVC sees a change in one."""

from darts_core.components import load_params
from darts_core.pipeline import named_files
from darts_core.pipeline.stage import explained


def main() -> None:
    """Read params.yaml and note the hashes."""
    with explained("named_files"):
        named_files.run(load_params())


if __name__ == "__main__":
    main()
