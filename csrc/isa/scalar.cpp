#define FASTES_ISA isa_scalar
#define FASTES_TABLE scalar_kernels
#define FASTES_LANES ScalarLanes

#include "simd/scalar.hpp"

#include "kernels.inl"  // after the lanes that it is made of
