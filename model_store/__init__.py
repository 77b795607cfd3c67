"""The treaty: the only thing that training and service both know."""
