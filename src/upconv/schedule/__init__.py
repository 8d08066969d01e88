"""From a problem on given strides to the lists of a program: what all ways of computing share and none owns."""
