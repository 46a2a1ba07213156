"""TFX components, one file each; all run on this machine and in a container."""
