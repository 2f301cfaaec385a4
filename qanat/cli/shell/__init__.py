"""`qanat shell`: Flume OG's shell, with the commands of `qanat` in it."""
