"""Frames for calibration and verification, sampled from videos, cameras and folders."""
