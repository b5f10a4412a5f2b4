"""lipsync_cli: make the person in a video say any speech."""

__version__ = "0.1.0"
