"""Label spaces and prompt books: the words that tie a prompt to a class."""
