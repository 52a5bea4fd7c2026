"""The video networks: a clip of crops in, one probability out."""
