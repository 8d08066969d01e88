"""The interactive page: one HTML file that shows what a transposed convolution does, assembled from `source/`."""
