"""Video, image folders and images: reading, colour both ways, and writing."""

from __future__ import annotations

from patchvsr.video.container import VIDEO_SUFFIXES, is_video
from patchvsr.video.folder import FrameHash, FrameWriter, frames_sha256, write_png_folder
from patchvsr.video.frames import FrameInfo, iter_frames, probe, read_frames
from patchvsr.video.images import IMAGE_SUFFIXES, image_files
from patchvsr.video.source import Source, open_source

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FrameHash",
    "FrameInfo",
    "FrameWriter",
    "Source",
    "frames_sha256",
    "image_files",
    "is_video",
    "iter_frames",
    "open_source",
    "probe",
    "read_frames",
    "write_png_folder",
]
