"""Which files are sounds: by their names, to list the sounds of a folder, and by their first bytes, to decode one.

What FFmpeg may read is decided here by the content alone. It never guesses a format from a name, and formats that name
other files or addresses (playlists, for example) are not in the table.
"""

from pathlib import PurePath
from typing import BinaryIO

from audiotagging.sounds.mpeg_frames import first_frame

# Endings of the names of files that are tried as sounds.
AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".m4a", ".m4b", ".mp4", ".aac", ".3gp"),
    *(".3g2", ".amr", ".awb", ".wma", ".wmv", ".asf", ".webm", ".weba", ".mka", ".mkv", ".mov", ".avi", ".ogv"),
    *(".wv", ".ape", ".tta", ".tak", ".mpc", ".dsf", ".dff", ".sph"),
)
# What systems leave in folders.
SYSTEM = {
    *("desktop.ini", "thumbs.db", "__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information")
}

HEAD = 16  # bytes
# First bytes, and FFmpeg's name of the format.
SIGNATURES = {
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb": "w64",
    b".snd": "au",
    b"caff": "caf",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"\x1a\x45\xdf\xa3": "matroska",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"wvpk": "wv",
    b"MAC ": "ape",
    b"#!AMR": "amr",
    b"TTA1": "tta",
    b"tBaK": "tak",
    b"MP+": "mpc",
    b"MPCK": "mpc8",
    b"DSD ": "dsf",
    b"FRM8": "iff",
}
# First bytes, what follows the size of the file, and FFmpeg's name of the format.
FORMS = {
    **{(name, b"WAVE"): "wav" for name in (b"RIFF", b"RF64", b"BW64", b"RIFX")},
    (b"FORM", b"AIFF"): "aiff",
    (b"FORM", b"AIFC"): "aiff",
    (b"RIFF", b"AVI "): "avi",
}
BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}  # the first box of an MP4, M4A, 3GP or MOV file
ADTS = (b"\xff\xf1", b"\xff\xf9")  # AAC without a container


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or is one that systems leave in folders.

    Such as `._bird.wav`, in which macOS keeps what other file systems cannot store of `bird.wav`.
    """
    return name.startswith(".") or name.lower() in SYSTEM


def is_sound_name(name: str) -> bool:
    """Return whether a file is to be tried as a sound, going by its name."""
    return not is_hidden(name) and PurePath(name).suffix.lower() in AUDIO_SUFFIXES


def is_sound_path(path: PurePath) -> bool:
    """Return whether a file is to be tried as a sound, going by its path below a folder. Nothing on it is hidden."""
    return is_sound_name(path.name) and not any(map(is_hidden, path.parts))


def ffmpeg_format(file: BinaryIO) -> str | None:
    """Return FFmpeg's name of the format of a file, going by its content. None if it is no sound.

    Args:
        file: The file, which is left anywhere.
    """
    start = skip_id3(file)
    file.seek(start)
    head = file.read(HEAD)
    if name := FORMS.get((head[:4], head[8:12])):
        return name
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[4:8] in BOXES:
        return "mov"
    if head.startswith(ADTS):
        return "aac"
    return "mp3" if first_frame(file, start) is not None else None


def looks_like_mp3(file: BinaryIO) -> bool:
    """Return whether libsndfile would look for an MP3 in a file in which `ffmpeg_format` found none.

    A free bit rate does not count: such an MP3 can be decoded, though its frames do not state their sizes.
    """
    start = skip_id3(file)
    file.seek(start)
    head = file.read(3)
    sync = len(head) == 3 and head[0] == 0xFF and head[1] >= 0xE0
    return head[2] >> 4 != 0 if sync else start > 0


def skip_id3(file: BinaryIO) -> int:
    """Return where a file begins after its ID3v2 tags (id3.org, "ID3 tag version 2.4.0", section 3.1)."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return start
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if head[5] & 0x10 else 0)
