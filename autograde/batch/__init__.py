"""Grade a class: find the submissions, hand them to workers, enter the results into the gradebook."""
