"""Downscale a long coarse gridded record with a short fine one."""
