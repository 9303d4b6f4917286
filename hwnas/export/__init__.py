"""From a trained subnet to files: lowering to a graph, proof that the file computes the same, and the bundle."""
