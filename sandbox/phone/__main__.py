"""Runs the phone service: `python -m sandbox.phone`."""

from sandbox.phone.service.server import main

if __name__ == "__main__":
    main()
