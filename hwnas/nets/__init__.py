"""Networks in torch: static ones, made of blocks as they are, and the elastic supernet that holds them all."""
