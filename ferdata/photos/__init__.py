"""From photos in files to arrays of faces: reading, finding the faces, cropping."""
