"""The class-conditional GAN: a relativistic game with gradient penalties, beside the minimax game as its baseline."""
