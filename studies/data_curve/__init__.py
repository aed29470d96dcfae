"""The data curve: how well the class is read from coordinates, pixels and codes, over the number of training clips."""
