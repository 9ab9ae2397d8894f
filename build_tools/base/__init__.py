"""What every other package stands on: errors, findings, files, processes, the cache, the project."""
