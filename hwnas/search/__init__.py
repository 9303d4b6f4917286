"""Search: the most accurate architecture under a hard constraint. Algorithms ask and tell; nothing here needs torch."""
