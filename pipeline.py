"""The pipelines.

The first one trains an ensemble of audio taggers from a folder of labelled sounds:

    1. ingest      get and check the data, compute its fingerprint
    2. preprocess  compute log-mel spectrograms, write them to Parquet
    3. select      assign folds, choose the noisy clips to train on
    4. train       train one model per member and fold, on GPUs if available
    5. predict     score windows and views of test clips and held-out clips
    6. ensemble    average the members, write the submission
    7. rescore     let the best champion predict newer clips
    8. promote     make the ensemble the champion unless it is worse
    9. evaluate    compute the scores, write the report
   10. conclude    note what the run was of, so that one without news ends early

The second one tags new sounds with it:

    1. find        find new and changed sounds, or all if the champion is new
    2. tag         tag the windows of these sounds, on GPUs if available
    3. collect     make a batch of the tags of all shards

`python pipeline.py --help` lists the commands.
"""

import sys

if __name__ == "__main__":  # first, because the next imports take seconds, and an interrupt or an error may end them
    from audiotagging.base.gate import prepare_process

    prepare_process()

from kfp import dsl
from kfp.dsl import Collected

from commands.parameters import (
    CORRECTIONS,
    DOWNLOADS,
    IF_CHANGED,
    KEEP_AUDIO,
    MARGIN,
    MAX_REJECTED,
    MEAN,
    NOISY,
    PROMOTION,
    READING,
    SEED,
    TEST_SHARE,
    VERIFY,
    WEIGHTS,
)
from commands.tagging.parameters import ANY_PRECISION, MERGE, OVERLAP, SHARDS, TOP, WINDOW
from components.collect import collect
from components.conclude import conclude
from components.ensemble import ensemble
from components.evaluate import evaluate
from components.find import find
from components.ingest import ingest
from components.predict import predict
from components.preprocess import preprocess
from components.promote import promote
from components.rescore import rescore
from components.select import select
from components.tag import tag
from components.train import train


@dsl.pipeline(name="audiotagging", description="Trains an ensemble of audio taggers from a folder of labelled sounds.")
def audiotagging(
    data: str,
    rows: list[dict],
    downloads: str = DOWNLOADS,
    seed: int = SEED,
    noisy: str = NOISY,
    corrections: list[str] = CORRECTIONS,
    reading: dict = READING,
    max_rejected: float = MAX_REJECTED,
    test_share: float = TEST_SHARE,
    keep_audio: bool = KEEP_AUDIO,
    verify: int = VERIFY,
    mean: str = MEAN,
    weights: str = WEIGHTS,
    checkpoints: str = "",
    champions: str = "",
    promotion: str = PROMOTION,
    margin: float = MARGIN,
    warm_start: float = 0.0,
    init: str = "",
    if_changed: bool = IF_CHANGED,
    command: str = "",
) -> None:
    """Train, average and score the members.

    Args:
        data: The data folder, or the source of the data.
        rows: Members and folds to train, from `audiotagging.members.rows`.
        downloads: Folder for downloads, unpacked archives and the digests of sounds.
        seed: Seed of every random choice.
        noisy: The noisy clips to train on: "all", "none", "agreement" (those with whose labels a linear model agrees),
            or the path of a list in the data folder.
        corrections: Paths of tables of corrected labels, relative to the data folder. Later ones win.
        reading: How the data folder is to be read: columns, tables and negatives, by the attributes of
            `audiotagging.data.layouts.reading.Reading`.
        max_rejected: Share of a part's clips that may be unreadable.
        test_share: Share of the clips of every class to make test clips. 0 if the data have them, or for none.
        keep_audio: Whether to keep excerpts of the clips that can be scored, for the players of the report.
        verify: Number of clips whose spectrograms are computed by librosa too, to compare them. 0 for none.
        mean: How the members are averaged: "arithmetic", "geometric" or "rank".
        weights: Weights of the members: "equal", or "fitted" to the out-of-fold predictions.
        checkpoints: Folder or URI for the checkpoints of interrupted trainings. An empty string disables them.
        champions: Folder of the champion and other versions. An empty string disables promotion.
        promotion: Which ensembles to promote: "better", "not-worse" or "never".
        margin: The lwlrap that a champion may lose.
        warm_start: Share of the epochs to train when starting with the champion's weights. 0 means new weights.
        init: The weights to start with: a path or a URL (`--init`). An empty string means new weights.
        if_changed: Whether to end after the first stage if nothing has changed since the last run that ended well.
        command: The command line that started the run, for the report.
    """
    ingested = ingest(
        data=data,
        rows=rows,
        downloads=downloads,
        noisy=noisy,
        corrections=corrections,
        reading=reading,
        max_rejected=max_rejected,
        test_share=test_share,
        seed=seed,
        init=init,
        keep_audio=keep_audio,
        verify=verify,
        mean=mean,
        weights=weights,
        champions=champions,
        promotion=promotion,
        margin=margin,
        warm_start=warm_start,
        if_changed=if_changed,
    )
    ingested.set_caching_options(False)  # it must check the data in every run

    with dsl.If(ingested.outputs["work"] > 0):
        spectrograms = preprocess(
            folder=ingested.outputs["folder"],
            fingerprint=ingested.outputs["fingerprint"],
            downloads=downloads,
            noisy_part=ingested.outputs["noisy_part"],
            corrections=corrections,
            reading=reading,
            max_rejected=max_rejected,
            test_share=test_share,
            split_seed=ingested.outputs["split_seed"],
            keep_audio=keep_audio,
            verify=verify,
        ).output

        selection = select(
            noisy_choice=ingested.outputs["noisy_choice"],
            seed=seed,
            spectrograms=spectrograms,
        ).output

        with dsl.ParallelFor(rows) as row:
            trained = train(
                row=row,
                spectrograms=spectrograms,
                selection=selection,
                init=ingested.outputs["init"],
                seed=seed,
                checkpoints=checkpoints,
                champions=champions,
                warm_start=warm_start,
            )
            model = trained.outputs["model"]
            predictions = predict(model=model, spectrograms=spectrograms, selection=selection).output

        averaged = ensemble(
            predictions=Collected(predictions), spectrograms=spectrograms, mean=mean, weights=weights
        ).output

        rescored = rescore(averaged=averaged, spectrograms=spectrograms, champions=champions)
        rescored.set_caching_options(False)  # it must check the champion in every run

        promoted = promote(
            averaged=averaged,
            models=Collected(model),
            spectrograms=spectrograms,
            selection=selection,
            rescored=rescored.output,
            champions=champions,
            policy=promotion,
            margin=margin,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        )
        promoted.set_caching_options(False)  # it must check the champion in every run

        evaluated = evaluate(
            averaged=averaged,
            models=Collected(model),
            spectrograms=spectrograms,
            selection=selection,
            promotion=promoted.output,
            ingested=ingested.outputs["cost"],
            command=command,
        )
        evaluated.set_caching_options(False)  # every run has its own scores and report

        concluded = conclude(
            inputs=ingested.outputs["inputs"], champions=champions, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER
        ).after(evaluated)
        concluded.set_caching_options(False)


@dsl.pipeline(name="audiotagging-tagging", description="Tags the new sounds of a folder with the champion.")
def tagging(
    data: str,
    out: str,
    models: str,
    window: float = WINDOW,
    overlap: float = OVERLAP,
    merge: bool = MERGE,
    top: int = TOP,
    precision: float = ANY_PRECISION,
    shards: int = SHARDS,
) -> None:
    """Tag new sounds. The results are in `out`, to which every batch adds.

    Args:
        data: Folder or URL of the sounds.
        out: Folder or URL of the results.
        models: The champions folder, or the output of a run.
        window: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too.
        merge: Whether neighbours of one label are merged.
        top: Largest number of tags per window.
        precision: The promised precision of the tags. 0 if all scores count.
        shards: The largest number of shards that are tagged at once.
    """
    found = find(
        data=data,
        out=out,
        models=models,
        window=window,
        overlap=overlap,
        merge=merge,
        top=top,
        precision=precision,
        shards=shards,
    )
    found.set_caching_options(False)  # it must look for new sounds in every run

    with dsl.If(found.outputs["work"] > 0):
        with dsl.ParallelFor(found.outputs["shards"]) as shard:
            tagged = tag(batch=found.outputs["batch"], shard=shard, new=found.outputs["new"])
            tagged.set_caching_options(False)  # its results are in `out`

        collected = collect(batch=found.outputs["batch"], costs=Collected(tagged.outputs["cost"]))
        collected.set_caching_options(False)


PIPELINES = {"training": audiotagging, "tagging": tagging}  # by the names that --pipeline takes

if __name__ == "__main__":
    from commands import main

    sys.exit(main(PIPELINES))
