"""What every other folder may lean on: errors, atomic writes, the DFDC folder layout, workers.
Imports nothing of ours.
"""

import gc

# Imports make a million objects that stay. To look through them at every 700th, as is the default, took 1 s of torch's
# 3.5.
gc.set_threshold(50_000, 50, 50)
