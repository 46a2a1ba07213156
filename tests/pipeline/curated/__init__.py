"""Image classification with a schema that somebody wrote: ten digits and nothing else."""
