"""The checks of the exercises, one file each: STEPS lists what is checked."""
