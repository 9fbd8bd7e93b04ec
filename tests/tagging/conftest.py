from helpers.tagging_fixtures import calibrated, compared_run, run, sounds, tagger  # noqa: F401
