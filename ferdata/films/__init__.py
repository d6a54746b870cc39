"""Films and cameras: frames and their times, followed faces, annotated films."""
