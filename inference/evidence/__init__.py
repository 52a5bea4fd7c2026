"""What a score rests on: the facts of a video, the activation maps, the pages, and whether evidence still holds."""
