"""``python -m tierproxy``."""

from tierproxy.cli import main

if __name__ == "__main__":
    main()
