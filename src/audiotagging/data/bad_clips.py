"""Curated clips of FSDKaggle2019 that are known to be bad. Other data sets have no clips with these names."""

BAD_CLIPS = {
    "f76181c4.wav": "wrong labels",
    "77b925c2.wav": "wrong labels",
    "6a1f682a.wav": "wrong labels",
    "c7db12aa.wav": "wrong labels",
    "7752cc8a.wav": "wrong labels",
    "1d44b0bd.wav": "no signal",
}
