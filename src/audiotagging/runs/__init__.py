"""How a run on a cluster went, from what Kubeflow and Argo say of it, and who is told: the stage `notify`."""
