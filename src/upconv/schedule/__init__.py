"""From a problem on given strides to tables of jobs: what knows both convolutions and kernels."""
