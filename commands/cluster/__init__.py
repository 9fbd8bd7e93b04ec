"""Works with a Kubeflow cluster: the connection, the settings, runs and schedules."""
