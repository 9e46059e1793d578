// One text for processors and GPUs: nvcc and NVRTC want a word before each function that is to run on a GPU.
#pragma once

#if defined(__CUDACC__)
#define FASTES_CALLABLE __host__ __device__
#define FASTES_INLINE __host__ __device__ __forceinline__
#define FASTES_LOOKUP __device__ const
#define FASTES_UNROLL _Pragma("unroll")
#else
#define FASTES_CALLABLE
#define FASTES_INLINE [[gnu::always_inline]] inline
#define FASTES_LOOKUP inline constexpr
#define FASTES_UNROLL _Pragma("GCC unroll 8")
#endif
