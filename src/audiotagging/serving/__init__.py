"""Tags sounds over HTTP."""
