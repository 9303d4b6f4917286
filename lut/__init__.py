"""Blocks and what they cost: the `Block`, the latency table of a device, and its calibration on whole nets."""
