#define FASTES_ISA isa_avx2
#define FASTES_TABLE avx2_kernels
#define FASTES_LANES Avx2Lanes

#include "simd/avx2.hpp"
#include "simd/scalar.hpp"

#include "kernels.inl"  // after the lanes that it is made of
