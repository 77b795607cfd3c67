"""The two variational autoencoders: convolutional on images, fully connected on tables."""
