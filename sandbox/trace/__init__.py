"""The timeline, made readable: ladders, timings, the verdict of a failing test."""
