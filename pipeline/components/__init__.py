"""TFX components of the loop, one file each; all can run on this machine and in a container."""
