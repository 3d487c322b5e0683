"""``python -m voxangle``."""

from voxangle.cli import main

if __name__ == "__main__":
    main()
