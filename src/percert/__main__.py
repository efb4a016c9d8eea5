"""``python -m percert`` is ``percert``."""

from percert.cli import main

if __name__ == "__main__":
    main()
