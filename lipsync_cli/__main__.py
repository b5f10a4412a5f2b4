"""`python -m lipsync_cli` is the same program as `lipsync`."""

from lipsync_cli.cli.app import main

if __name__ == "__main__":
    main()
