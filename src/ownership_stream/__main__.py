"""`python -m ownership_stream` is the same program as `ownership-stream`."""

from ownership_stream.cli import main

if __name__ == "__main__":
    main()
