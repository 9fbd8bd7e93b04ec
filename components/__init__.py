"""The stages of the pipeline, one short file each, and what they need of images and clusters."""
