"""What every other folder may lean on: errors, atomic writes, the DFDC folder layout, workers. Imports nothing of ours."""
