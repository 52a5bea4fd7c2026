"""What every other folder may import: errors, atomic writes, the DFDC folder layout, workers.

It imports nothing of ours.
"""

import gc

# Imports make a million objects that stay. By default the garbage collector starts at every 700th new object. That took
# 1 s of the 3.5 s that importing torch takes.
gc.set_threshold(50_000, 50, 50)
