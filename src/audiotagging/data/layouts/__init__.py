"""The layouts of a data folder: one module per layout, which returns the clips that it finds."""
