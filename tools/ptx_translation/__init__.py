"""PTX, the text that compilers make for NVIDIA's GPUs, as C that does the same on a CPU.

parse          a text of PTX as kernels of instructions
instructions   one instruction as statements in C
kernels        a kernel as a function in C that stops at barriers
device.h, .c   what that C stands on: checked memory, and a grid whose blocks run one after another
"""
