"""An exact model of the contract, and what plays random programs of a kernel against it."""
