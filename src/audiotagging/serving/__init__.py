"""Tags sounds over HTTP. It is in the image `tagging`, with all that tagging takes."""
