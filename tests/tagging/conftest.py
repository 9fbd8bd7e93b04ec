from tagging_fixtures import calibrated, run, sounds, tagger  # noqa: F401
