"""What nbgrader calls in place of its own parts, and how its gradebook is written."""
