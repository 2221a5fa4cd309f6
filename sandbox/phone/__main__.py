"""Runs the phone service: `python -m sandbox.phone`."""

from sandbox.phone.service.zygote import launch

if __name__ == "__main__":
    zygote = launch()  # it imports PJSIP and numpy while this process imports aiohttp
    from sandbox.phone.service.server import main

    main(zygote=zygote)
