"""torch's k1 s2 gradient in the weight, grad_y and x at the end of a page with guard: who reads / writes beyond?"""
