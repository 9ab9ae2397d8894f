"""What `test` and `doctor` run."""
