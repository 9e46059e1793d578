#define FASTES_ISA isa_neon
#define FASTES_TABLE neon_kernels
#define FASTES_LANES NeonLanes

#include "simd/neon.hpp"
#include "simd/scalar.hpp"

#include "kernels.inl"  // after the lanes that it is made of
