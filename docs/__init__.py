"""The documentation, its pictures, and the module that draws them."""
