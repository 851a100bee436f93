"""``python -m fal_async`` is the command line by another name; nothing else belongs here."""

from fal_async.cli.main import main

if __name__ == "__main__":
    main()
