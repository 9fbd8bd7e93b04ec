"""What the stages need on a cluster. The function `configure` adds it to a task after the pipeline has been wired."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_context import Pipeline

from audiotagging.artifacts.last_run import IMAGES
from audiotagging.base.object_store import SECRET
from audiotagging.runs.notification import VARIABLE
from components.images import relocate
from components.notify import notify

USER = 1000  # user and group of the images
HOUR = 3600  # seconds
BACKOFF = 60  # seconds before the first retry, doubled before each further one

# The labels of the stages' pods, by which manifests/ finds them.
PART_OF, COMPONENT, PROGRAM = "app.kubernetes.io/part-of", "app.kubernetes.io/component", "audiotagging"

# The folders that the volumes are mounted on.
AUDIO = "/audio"
CHECKPOINTS = "/checkpoints"
CHAMPIONS = "/champions"
TAGS = "/tags"
CLAIMS = {
    AUDIO: "audiotagging-audio",
    CHECKPOINTS: "audiotagging-checkpoints",
    CHAMPIONS: "audiotagging-champions",
    TAGS: "audiotagging-tags",
}


@dataclass(frozen=True)
class Needs:
    """What a stage needs of a node.

    Attributes:
        cpu: Number of requested CPU cores and of threads. The limit is twice as many cores.
        memory: Requested memory and memory limit, in GiB.
        hours: Maximum hours of one attempt.
        retries: How often it is tried again. On Kubeflow's defaults that covers a pod that is deleted or never starts,
            not a program that fails or is killed, whatever a pipeline asks for; manifests/retries changes that. `train`
            does not depend on it: it starts a training that dies again by itself (`audiotagging.training.supervisor`).
        volumes: The folders of the volumes that it needs.
        gpu: Whether it can use a GPU.
        stores: Whether it reads from or writes to object stores, and therefore needs their credentials.
        shared_memory: Size of /dev/shm in MiB, for worker processes. 0 keeps the default of 64 MiB.
    """

    cpu: int
    memory: int
    hours: int
    retries: int = 2
    volumes: tuple[str, ...] = ()
    gpu: bool = False
    stores: bool = False
    shared_memory: int = 0

    @property
    def resources(self) -> tuple[str, str, str, str]:
        """CPU request, CPU limit, memory request and memory limit, as Kubernetes writes them."""
        return str(self.cpu), str(2 * self.cpu), f"{self.memory}Gi", f"{self.memory}Gi"


# For all of FSDKaggle2019: 33 GB of sound, 3 GB of spectrograms, 130 minutes per member on one good GPU.
NEEDS = {
    "ingest": Needs(cpu=1, memory=4, hours=12, volumes=(AUDIO, CHAMPIONS), stores=True),
    "preprocess": Needs(cpu=8, memory=16, hours=6, volumes=(AUDIO,), shared_memory=1024),
    "select": Needs(cpu=4, memory=16, hours=12, volumes=(AUDIO,)),
    "train": Needs(
        cpu=4, memory=16, hours=48, retries=5, volumes=(AUDIO, CHECKPOINTS, CHAMPIONS), gpu=True, stores=True
    ),
    "predict": Needs(cpu=2, memory=12, hours=6, gpu=True),
    "ensemble": Needs(cpu=1, memory=8, hours=1),
    "rescore": Needs(cpu=2, memory=12, hours=6, volumes=(CHAMPIONS,), gpu=True),
    "promote": Needs(cpu=2, memory=8, hours=1, volumes=(CHAMPIONS,)),
    "notify": Needs(cpu=1, memory=1, hours=1, retries=0, volumes=(CHAMPIONS,)),  # it fails when it has told a failure
    "evaluate": Needs(cpu=2, memory=8, hours=1),
    "conclude": Needs(cpu=1, memory=1, hours=1, volumes=(CHAMPIONS,)),
    # Of the pipeline `tagging`. What a shard has tagged is kept, so a retry continues.
    "find": Needs(cpu=1, memory=4, hours=2, volumes=(AUDIO, CHAMPIONS, TAGS), stores=True),
    "tag": Needs(cpu=4, memory=16, hours=48, retries=5, volumes=(AUDIO, CHAMPIONS, TAGS), gpu=True, stores=True),
    "collect": Needs(cpu=1, memory=8, hours=2, volumes=(CHAMPIONS, TAGS), stores=True),
}

# For the demo data on a cluster as small as one laptop.
SMALL = ("250m", "2", "1Gi", "3Gi")


@dataclass(frozen=True)
class Cluster:
    """Settings of a cluster.

    Attributes:
        gpus: Number of GPUs for each training, prediction and shard. 0 runs everything on CPUs.
        gpu_label: Key and value of the label of nodes with GPUs.
        torch: The build of torch, "cpu" or "cuda".
        registry: The registry of the images.
        claims: Names of the volume claims by the folder that they are mounted on. An empty name mounts nothing.
        small: Whether to request few resources, for the demo data on a small cluster.
        deadline: Hours after which a run is stopped. A stage that does not fit any node waits until then.
        queue: The Kueue queue of the tasks. An empty string means none.
        secret: The Kubernetes secret with the credentials for object stores. An empty string means none.
        notify: The URL to which the end of a run is posted. An empty string means none.
        notify_secret: The Kubernetes secret with this URL. An empty string means none.
    """

    gpus: int = 1
    gpu_label: tuple[str, str] = ("nvidia.com/gpu.present", "true")
    torch: str = "cuda"
    registry: str = ""
    claims: Mapping[str, str] = field(default_factory=lambda: CLAIMS)
    small: bool = False
    deadline: int = 96
    queue: str = ""
    secret: str = ""
    notify: str = ""
    notify_secret: str = ""


def on_cluster(pipeline: GraphComponent, cluster: Cluster) -> GraphComponent:
    """Return the same pipeline with what its tasks need on a cluster, and with a stage that tells how a run ended."""
    if cluster.notify or cluster.notify_secret:
        pipeline = _notifying(pipeline, cluster)

    @functools.wraps(pipeline.pipeline_func)
    def configured(*args: Any, **kwargs: Any) -> Any:
        outputs = pipeline.pipeline_func(*args, **kwargs)
        tasks = Pipeline.get_default_pipeline().tasks
        for task in tasks.values():
            configure(task, cluster)
        if "ingest" in tasks:
            images = {task.container_spec.image for task in tasks.values()}
            tasks["ingest"].set_env_variable(IMAGES, " ".join(sorted(images)))
        return outputs

    return dsl.pipeline(
        name=pipeline.name,
        description=pipeline.description,
        pipeline_config=dsl.PipelineConfig(active_deadline_seconds=cluster.deadline * HOUR),
    )(configured)


def _notifying(pipeline: GraphComponent, cluster: Cluster) -> GraphComponent:
    """Return the same pipeline with the stage `notify` at its end, whether the other stages succeed or not.

    It has no outputs, because KFP takes none from the stages in an exit handler. Nothing on a cluster needs them.
    """
    signature = inspect.signature(pipeline.pipeline_func)

    def notifying(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        last = notify(
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, champions=given.get("champions", ""), rows=given.get("rows", [])
        )
        last.set_caching_options(False)
        # In the environment, because an argument would be in the log of its pod.
        if cluster.notify:
            last.set_env_variable(VARIABLE, cluster.notify)
        else:  # optional, because a pod without its secret would wait for it
            kubernetes.use_secret_as_env(last, cluster.notify_secret, {VARIABLE: VARIABLE}, optional=True)
        with dsl.ExitHandler(last, name="run"):
            pipeline.pipeline_func(*args, **kwargs)

    notifying.__signature__ = signature.replace(return_annotation=None)  # type: ignore[attr-defined]
    notifying.__doc__ = pipeline.pipeline_func.__doc__
    return dsl.pipeline(name=pipeline.name, description=pipeline.description)(notifying)


def configure(task: PipelineTask, cluster: Cluster) -> None:
    """Add to a task what it needs on the cluster: resources, node, volumes, user, deadline and retries."""
    needs = NEEDS[task.name]
    task.set_container_image(relocate(task.container_spec.image, registry=cluster.registry, torch=cluster.torch))

    cpu, cpu_limit, memory, memory_limit = SMALL if cluster.small else needs.resources
    task.set_cpu_request(cpu).set_cpu_limit(cpu_limit).set_memory_request(memory).set_memory_limit(memory_limit)
    # One thread per guaranteed core. With more threads (libraries start one per core of the node by default), they wait
    # for each other as soon as another stage uses the cores, which was seen to be five times slower.
    task.set_env_variable("OMP_NUM_THREADS", "1" if cluster.small else str(needs.cpu))
    if needs.shared_memory:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=f"{needs.shared_memory}Mi")

    if needs.gpu and cluster.gpus:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(cluster.gpus)
        kubernetes.add_node_selector(task, *cluster.gpu_label)
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")

    for folder in needs.volumes:
        if claim := cluster.claims[folder]:
            kubernetes.mount_pvc(task, pvc_name=claim, mount_path=folder)
    if needs.stores and cluster.secret:
        kubernetes.use_secret_as_volume(task, cluster.secret, str(SECRET))
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, "tmp", "/tmp")  # so that the root may be read-only
    kubernetes.add_pod_label(task, PART_OF, PROGRAM)
    kubernetes.add_pod_label(task, COMPONENT, task.name)
    if cluster.queue:
        kubernetes.add_pod_label(task, "kueue.x-k8s.io/queue-name", cluster.queue)

    kubernetes.set_timeout(task, needs.hours * HOUR)
    if not needs.retries:
        return
    # Argo counts the maximum duration from the start of the first attempt. With KFP's default of one hour, a stage that
    # fails later would not be retried.
    task.set_retry(
        needs.retries,
        backoff_duration=f"{BACKOFF}s",
        backoff_factor=2,
        backoff_max_duration=f"{cluster.deadline * HOUR}s",
    )
