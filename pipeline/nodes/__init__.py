"""The AutoML pipeline's own nodes: each file holds a node's definition and the program that its container runs."""
