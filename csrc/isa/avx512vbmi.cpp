#define FASTES_ISA isa_avx512vbmi
#define FASTES_TABLE avx512vbmi_kernels
#define FASTES_LANES Avx512VbmiLanes

#include "simd/avx512vbmi.hpp"
#include "simd/scalar.hpp"

#include "kernels.inl"  // after the lanes that it is made of
