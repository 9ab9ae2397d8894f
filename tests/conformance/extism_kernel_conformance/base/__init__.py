"""What every other package of the suite stands on: errors, the suite's data, schemas, outcomes."""
