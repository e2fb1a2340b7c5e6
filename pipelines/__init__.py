"""What `dvc repro` runs: one stage, one file, one section of params.yaml."""
