"""The plot of the champions: the score of every version, and how it compared with the best champion of its time."""

from collections.abc import Sequence

from audiotagging.artifacts.champions_folder import Event
from audiotagging.report.plots import ACCENT, INK, SECOND, notes, row_axes, svg

ROW = 20.0  # points
SHOWN = 30  # versions, the newest


def measured_candidates(events: Sequence[Event]) -> list[Event]:
    """Return the newest candidates that were measured, oldest first, at most `SHOWN` of them."""
    return [event for event in events if event["action"] == "candidate" and "measured" in event][-SHOWN:]


def champions_plot(events: Sequence[Event]) -> str:
    """Draw the lwlrap of versions with its interval, and that of the best champion of their time on the same clips.

    Args:
        events: The history of the champions, with at least one of `measured_candidates`.
    """
    used = {event["after"] for event in events}
    shown = measured_candidates(events)
    scores = [event["measured"] for event in shown]
    against = [event["decision"].get("comparison") for event in shown]
    ends = [score[end] for score in scores for end in ("low", "high")] + [each["champion"] for each in against if each]
    space = 0.06 * (max(ends) - min(ends)) + 1e-3
    labels = [f"{event['when'][:10]} {event['version'][:8]}" for event in shown]
    with row_axes(
        labels, headers=["lwlrap"], limits=(min(ends) - space, max(ends) + space), row=ROW, longest=len(labels[0])
    ) as axes:
        for place, (event, score, comparison) in enumerate(zip(shown, scores, against, strict=True)):
            colour = SECOND if event["version"] in used else ACCENT
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=2, alpha=0.55)
            axes.plot(score["score"], place, "o", color=colour, markersize=5.5)
            if comparison:
                axes.vlines(comparison["champion"], place - 0.36, place + 0.36, color=INK, linewidth=1.6)
            notes(axes, place, [f"{score['score']:.3f}"])
        return svg(axes.figure, "Every version with its lwlrap, and the best champion of its time on the same clips")
