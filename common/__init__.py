"""What every other folder may import: errors, atomic writes, the DFDC folder tree, worker processes.

It imports no other folder.
"""

import gc

# Imports make a million objects that stay. By default the garbage collector runs after every 700 new objects: this is
# 1 s of the 3.5 s that importing torch takes.
gc.set_threshold(50_000, 50, 50)
