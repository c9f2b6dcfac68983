"""What is wrong with the files of a package, by linters that can be chosen."""
