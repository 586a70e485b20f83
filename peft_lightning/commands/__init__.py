"""What each word of the command line does: one command, one file; ``registry`` finds them."""
