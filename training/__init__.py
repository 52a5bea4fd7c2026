"""How is a network trained? One engine for the image and the video networks; never imports `faces`."""
