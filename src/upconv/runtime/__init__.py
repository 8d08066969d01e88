"""What runs the kernels: their entry addresses, the tables of jobs, the threads and the memory."""
