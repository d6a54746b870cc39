"""What teacher networks said about the images: soft labels, read, checked, aligned, averaged."""
