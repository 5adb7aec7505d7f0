"""The other systems' optimizers, under their names, with their arguments and exact numbers."""
