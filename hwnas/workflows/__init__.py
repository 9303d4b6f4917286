"""What commands are made of, without any command line: which space and data are meant, and whether all of it fits."""
