"""The main job on a real cluster, told once: the demo prints it, the end-to-end tests assert it."""
