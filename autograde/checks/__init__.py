"""What right means, one package a lesson, and the known mistakes."""
