"""The stages of the pipeline, one short file per stage, with their images and their needs on a cluster."""
