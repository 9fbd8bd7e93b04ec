"""Averages the predictions of the members, and fits how their scores are read: the stage `ensemble`."""
