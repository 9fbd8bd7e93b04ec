"""The commands `run`, `submit` and `schedule` with `--pipeline tagging`, which have other options."""
