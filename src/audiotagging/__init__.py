"""Trains and uses an ensemble of audio taggers. The library: it never imports kfp."""
