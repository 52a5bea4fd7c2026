"""The image networks and their training: one crop in, one probability out."""
