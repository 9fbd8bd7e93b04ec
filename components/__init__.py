"""The stages of the pipeline, one short file each: typed inputs and outputs and one call into the library."""
