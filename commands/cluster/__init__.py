"""What talks to a Kubeflow cluster: the connection, its settings, runs and schedules there."""
