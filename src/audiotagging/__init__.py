"""The library: trains and uses an ensemble of audio taggers. It never imports kfp."""
