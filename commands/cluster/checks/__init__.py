"""What `doctor` looks at before a run is submitted: Kubeflow's servers, the namespace of the stages, and the nodes."""
