"""The video networks: a clip of crops in, one probability out. Their training has its own issue."""
