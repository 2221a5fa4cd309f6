"""The timeline, made readable: ladders, timings, the verdict and the report of a test."""
