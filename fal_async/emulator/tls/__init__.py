"""fal's hosts by name: a certificate authority of its own, https, and a forward proxy to nobody else."""
