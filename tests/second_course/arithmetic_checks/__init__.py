"""What right means in the arithmetic course, one module a lesson."""
