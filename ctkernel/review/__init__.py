"""The review page: a chest CT beside its synthetic smooth volume in the browser, with the numbers of the command line."""
