"""The frozen Fashion-MNIST classifier whose features FD-fmnist is measured in."""
