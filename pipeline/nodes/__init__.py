"""The AutoML pipeline's own nodes: components.py defines them, each other file is the program of one."""
