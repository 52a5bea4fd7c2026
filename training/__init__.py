"""Train networks: one engine for the image and the video networks. It never imports `faces`."""
