"""The metrics of a server, in the format of Prometheus."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from audiotagging.serving.limits import Room

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LENGTHS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)  # seconds
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of a server.

    Attributes:
        requests: Requests by the path and the status of the answer.
        latency: Seconds from a request's headers to its answer, by path.
        batches: Spectrograms in the batches that are scored at once.
        sounds: Durations of the sounds.
        lost: Processes that ended before they had decoded their sound, by the reason.
        tags: Sounds and windows by their best tag.
        model: 1 for the version of the models that answers.
        refused: Whether there is a newer champion that cannot be loaded.
    """

    def __init__(self, *, queue: Room, memory: Room) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "audiotagging_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.latency = Histogram(
            "audiotagging_request_seconds",
            "Seconds from the headers of a request to its answer.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "audiotagging_batch_spectrograms",
            "Spectrograms that are scored at once.",
            buckets=SIZES,
            registry=registry,
        )
        self.sounds = Histogram(
            "audiotagging_sound_seconds", "Durations of the sounds.", buckets=LENGTHS, registry=registry
        )
        self.lost = Counter(
            "audiotagging_decoders_lost",
            "Processes that ended before they had decoded their sound: crash, cost (time or memory), turn (others "
            "waited, and it began again), start (the process that starts the others).",
            ["reason"],
            registry=registry,
        )
        self.tags = Counter("audiotagging_tags", "Sounds and windows by their best tag.", ["label"], registry=registry)
        self.model = Gauge(
            "audiotagging_model", "1 for the version of the models that answers.", ["version"], registry=registry
        )
        self.refused = Gauge(
            "audiotagging_champion_refused",
            "1 if there is a newer champion that cannot be loaded.",
            registry=registry,
        )
        gauges = {
            "audiotagging_queue": ("Sounds in progress, those that wait included.", queue),
            "audiotagging_upload_bytes": ("Size of the uploads in memory.", memory),
        }
        for name, (description, room) in gauges.items():
            Gauge(name, description, registry=registry).set_function(partial(getattr, room, "taken"))

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self._registry)
