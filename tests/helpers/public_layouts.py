"""Writes public data sets as they are unpacked, cut to a few clips, with the columns and names of the real ones."""

import csv
import shutil
from pathlib import Path

DOG, CAT = "dog", "cat"


def write_rows(path: Path, *rows, delimiter=",") -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def touch(folder: Path, *names: str, sound: Path) -> None:
    """Write a sound under some names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sound, folder / name)


def esc50(folder, sound):
    names = [(f"{fold}-{100 + source}-A-{target}.wav", fold, target, source) for fold, target, source in _grid()]
    touch(folder / "audio", *(name for name, *_ in names), sound=sound)
    write_rows(
        folder / "meta/esc50.csv",
        ("filename", "fold", "target", "category", "esc10", "src_file", "take"),
        *[(name, fold, target, (DOG, CAT)[target], "True", 100 + source, "A") for name, fold, target, source in names],
    )
    (folder / "meta/esc50-human.xlsx").write_bytes(b"PK")


def urban_sound(folder, sound):
    rows = [(f"{100 + source}-{target}-0-0.wav", fold, target, source) for fold, target, source in _grid()]
    touch(folder / "audio", *(f"fold{fold}/{name}" for name, fold, *_ in rows), sound=sound)
    (folder / "FREESOUNDCREDITS.txt").write_text("".join(f"{100 + source} by nobody\n" for *_, source in rows))
    write_rows(
        folder / "metadata/UrbanSound8K.csv",
        ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"),
        *[(name, 100 + source, 58.5, 62.5, 1, fold, target, (DOG, CAT)[target]) for name, fold, target, source in rows],
    )


def fsd50k(folder, sound):
    dev, evaluation = [(number, number % 2) for number in range(12)], [(number, number % 2) for number in range(20, 24)]
    touch(folder / "FSD50K.dev_audio", *(f"{number}.wav" for number, _ in dev), sound=sound)
    touch(folder / "FSD50K.eval_audio", *(f"{number}.wav" for number, _ in evaluation), sound=sound)
    labels = ("Bark,Dog", "Meow,Cat")
    truth, other = folder / "FSD50K.ground_truth", folder / "FSD50K.metadata/collection"
    rows = [(number, labels[kind], "/m/1,/m/2") for number, kind in dev]
    split = ["val" if number < 2 else "train" for number, _ in dev]
    write_rows(
        truth / "dev.csv",
        ("fname", "labels", "mids", "split"),
        *[(*row, side) for row, side in zip(rows, split, strict=True)],
    )
    write_rows(
        truth / "eval.csv",
        ("fname", "labels", "mids"),
        *[(number, labels[kind], "/m/1") for number, kind in evaluation],
    )
    write_rows(truth / "vocabulary.csv", (0, "Bark", "/m/1"), (1, "Meow", "/m/2"))
    write_rows(other / "collection_dev.csv", ("fname", "labels", "mids"), *rows)


def kaggle_2018(folder, sound):
    touch(folder / "audio_train", *(f"{number:08x}.wav" for number in range(12)), sound=sound)
    touch(folder / "audio_test", *(f"{number:08x}.wav" for number in range(20, 24)), sound=sound)
    write_rows(
        folder / "train.csv",
        ("fname", "label", "manually_verified"),
        *[(f"{number:08x}.wav", ("Hi-hat", "Flute")[number % 2], number % 3 % 2) for number in range(12)],
    )
    write_rows(
        folder / "sample_submission.csv",
        ("fname", "label"),
        *[(f"{number:08x}.wav", "Laughter Hi-Hat Flute") for number in range(20, 24)],
    )


def zenodo_2018(folder, sound):
    touch(folder / "FSDKaggle2018.audio_train", *(f"{number:08x}.wav" for number in range(12)), sound=sound)
    touch(folder / "FSDKaggle2018.audio_test", *(f"{number:08x}.wav" for number in range(20, 26)), sound=sound)
    meta = folder / "FSDKaggle2018.meta"
    write_rows(
        meta / "train_post_competition.csv",
        ("fname", "label", "manually_verified", "freesound_id", "license"),
        *[(f"{number:08x}.wav", ("Hi-hat", "Flute")[number % 2], 1, 500 + number, "CC0") for number in range(12)],
    )
    write_rows(
        meta / "test_post_competition_scoring_clips.csv",
        ("fname", "label", "usage", "freesound_id", "license"),
        *[
            (
                f"{number:08x}.wav",
                ("Hi-hat", "Flute")[number % 2],
                ("Public", "Private")[number > 20],
                500 + number,
                "CC0",
            )
            for number in range(20, 24)
        ],
    )


def birdclef(folder, sound):
    touch(folder / "train_audio", *(f"{(DOG, CAT)[n % 2]}/XC{n}.ogg" for n in range(12)), sound=sound)
    touch(folder / "test_soundscapes", "soundscape_0.ogg", sound=sound)
    write_rows(
        folder / "train_metadata.csv",
        ("primary_label", "secondary_labels", "type", "common_name", "author", "rating", "url", "filename"),
        *[
            ((DOG, CAT)[n % 2], ["[]", "['owl', 'cow']"][n % 2], "['call']", "African Dog", "A", 4, "https://x", name)
            for n, name in ((n, f"{(DOG, CAT)[n % 2]}/XC{n}.ogg") for n in range(12))
        ],
    )
    write_rows(folder / "sample_submission.csv", ("row_id", "target"), ("soundscape_0_dog_5", "True"))


def speech_commands(folder, sound):
    names = [
        f"{word}/{speaker:08x}_nohash_{take}.wav" for word in ("yes", "no") for speaker in range(9) for take in (0, 1)
    ]
    touch(folder, *names, "_background_noise_/white_noise.wav", sound=sound)
    for name, speaker in (("validation_list.txt", 0), ("testing_list.txt", 1)):
        (folder / name).write_text("".join(f"{each}\n" for each in names if f"{speaker:08x}_" in each))
    (folder / "LICENSE").touch()


def audioset(folder, sound):
    videos = [f"-video{number:05}" for number in range(12)]
    touch(folder / "clips", *(f"Y{video}.wav" for video in videos[:9]), f"{videos[9]}_30.000.wav", sound=sound)
    mids = ("/m/0ytgt", "/m/04rlf,/m/09x0r")
    for name, chosen in (("balanced_train", videos[:8]), ("eval", videos[8:])):
        lines = [f'{video}, 30.000, 40.000, "{mids[number % 2]}"' for number, video in enumerate(chosen)]
        head = ["# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=8, num_segs=8"]
        head.append("# YTID, start_seconds, end_seconds, positive_labels")
        (folder / f"{name}_segments.csv").write_text("\n".join([*head, *lines]) + "\n")
    write_rows(
        folder / "class_labels_indices.csv",
        ("index", "mid", "display_name"),
        (0, "/m/09x0r", "Speech"),
        (1, "/m/0ytgt", "Child speech, kid speaking"),
        (2, "/m/04rlf", "Music"),
    )


def scenes(folder, sound):
    rows = [
        (f"audio/{scene}-{city}-{place}-{take}-a.wav", scene, f"{city}-{place}", "a")
        for scene in ("airport", "bus")
        for place, city in enumerate(("barcelona", "lyon", "paris", "vienna", "milan", "prague", "london"))
        for take in (0, 1)
    ]
    touch(folder, *(name for name, *_ in rows), sound=sound)
    write_rows(folder / "meta.csv", ("filename", "scene_label", "identifier", "source_label"), *rows, delimiter="\t")
    setup = folder / "evaluation_setup"
    test, unused = "vienna", "milan"
    train = [row[:2] for row in rows if test not in row[0] and unused not in row[0]]
    write_rows(setup / "fold1_train.csv", ("filename", "scene_label"), *train, delimiter="\t")
    evaluated = [row[:2] for row in rows if test in row[0]]
    write_rows(setup / "fold1_evaluate.csv", ("filename", "scene_label"), *evaluated, delimiter="\t")
    write_rows(setup / "fold1_test.csv", ("filename",), *[row[:1] for row in evaluated], delimiter="\t")


def old_scenes(folder, sound):
    names = [
        (f"audio/b{place:03}_{take}_{take + 10}.wav", ("beach", "bus")[place % 2])
        for place in range(8)
        for take in (0, 10)
    ]
    touch(folder, *(name for name, _ in names), sound=sound)
    write_rows(folder / "meta.txt", *[(name, scene, name[6:10]) for name, scene in names], delimiter="\t")
    for fold in range(4):
        chosen = [row for row in names if int(row[0][7:10]) % 4 == fold]
        write_rows(folder / f"evaluation_setup/fold{fold + 1}_evaluate.txt", *chosen, delimiter="\t")
        others = [row for row in names if row not in chosen]
        write_rows(folder / f"evaluation_setup/fold{fold + 1}_train.txt", *others, delimiter="\t")


def urban_sed(folder, sound):
    for split, count in (("train", 10), ("validate", 3), ("test", 3)):
        for number in range(count):
            name = f"soundscape_{split}_bimodal{number}"
            touch(folder / "audio" / split, f"{name}.wav", sound=sound)
            events = ((0.1 + number, 0.6 + number, "siren"), (2.0 + number, 3.5, "drilling"))
            rows = [(start, max(start, end), label) for start, end, label in events]
            write_rows(folder / "annotations" / split / f"{name}.txt", *rows, delimiter="\t")
            (folder / "annotations" / split / f"{name}.jams").write_text("{}")


def desed(folder, sound):
    audio, metadata = folder / "audio", folder / "metadata"
    weak = [f"Y{number:011}_0.000_10.000.wav" for number in range(8)]
    touch(audio / "train/weak", *weak, sound=sound)
    touch(audio / "train/weak_16k", *weak, sound=sound)  # which the baseline of DCASE's task 4 makes
    touch(audio / "train/unlabel_in_domain", "Yunlabelled_0.000_10.000.wav", sound=sound)
    labels = ("Speech", "Dog,Speech")
    rows = [(name, labels[number % 2]) for number, name in enumerate(weak)]
    write_rows(metadata / "train/weak.tsv", ("filename", "event_labels"), *rows, delimiter="\t")
    write_rows(
        metadata / "train/unlabel_in_domain.tsv", ("filename",), ("Yunlabelled_0.000_10.000.wav",), delimiter="\t"
    )
    head = ("filename", "onset", "offset", "event_label")
    touch(audio / "train/strong_label_real", weak[0], sound=sound)
    write_rows(metadata / "train/audioset_strong.tsv", head, (weak[0], 1.0, 2.5, "Dog"), delimiter="\t")
    for split, count in (("train", 4), ("validation", 2)):
        made = f"{split}/synthetic21_{split}/soundscapes"
        touch(audio / made, *(f"{number}.wav" for number in range(count)), sound=sound)
        rows = [(f"{number}.wav", 1.0, 1.5, labels[0]) for number in range(count)]
        write_rows(metadata / f"{made}.tsv", head, *rows, delimiter="\t")
    touch(audio / "validation/validation", "Yval_0.000_10.000.wav", "Yempty_0.000_10.000.wav", sound=sound)
    rows = [("Yval_0.000_10.000.wav", 0.0, 10.0, "Dog"), ("Yempty_0.000_10.000.wav", "", "", "")]
    write_rows(metadata / "validation/validation.tsv", head, *rows, delimiter="\t")
    touch(audio / "eval/public", "Yeval_0.000_10.000.wav", sound=sound)
    write_rows(metadata / "eval/public.tsv", head, ("Yeval_0.000_10.000.wav", 3, 4, "Speech"), delimiter="\t")


def _grid():
    """Return fold, class and source of ten clips, of which each source has two in one fold."""
    return [(fold, target, 10 * fold + target) for fold in range(1, 6) for target in (0, 1)]


LAYOUTS = (
    *(esc50, urban_sound, fsd50k, kaggle_2018, zenodo_2018, birdclef, speech_commands, audioset, scenes, old_scenes),
    *(urban_sed, desed),
)
