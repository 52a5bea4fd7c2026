"""What a score rests on: the facts about a video, the activation maps, the pages, and how two evidences differ."""
