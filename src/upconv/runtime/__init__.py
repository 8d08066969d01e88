"""What runs the kernels: their entry addresses, the programs, the threads and the memory."""
