#define FASTES_ISA isa_avx512
#define FASTES_TABLE avx512_kernels
#define FASTES_LANES Avx512Lanes

#include "simd/avx512.hpp"
#include "simd/scalar.hpp"

#include "kernels.inl"  // after the lanes that it is made of
