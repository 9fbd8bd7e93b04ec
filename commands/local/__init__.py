"""What runs the pipeline on this machine, and what a person sees of it."""
