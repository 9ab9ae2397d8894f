"""The main job: compile, validate, stamp and stage the kernel."""
