"""One module per service of fal: HTTP in, the platform's answer out."""
