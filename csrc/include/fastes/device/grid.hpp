// How a kernel for a GPU is written here: a body is an object of one thread, made anew for each.
//
//     Body(params, place, shared)    its members are the thread's registers
//     steps()                        how often load and work follow each other, the same in a whole block
//     load(step), work(step)         between them, and after each, all threads of a block wait for each other
//     finish()                       after the last step
//     Body::Params, Body::threads, Body::Shared    plain data; threads of a block; memory of a block
//
// Nothing else of the machine reaches a body, so the C++ tests run the same text over a grid in the memory of the CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Place {
    std::uint32_t block_x, block_y, thread;
};

// What a body without steps takes over.
struct OneStep {
    struct Shared {};

    FASTES_CALLABLE std::uint32_t steps() const { return 0; }
    FASTES_CALLABLE void load(std::uint32_t) {}
    FASTES_CALLABLE void work(std::uint32_t) {}
};

#if defined(__CUDACC__)
template <class Body>
__device__ __forceinline__ void run_thread(const typename Body::Params& params) {
    __shared__ typename Body::Shared shared;
    Body body(params, Place{blockIdx.x, blockIdx.y, threadIdx.x}, shared);
    const std::uint32_t steps = body.steps();
    for (std::uint32_t step = 0; step < steps; ++step) {
        body.load(step);
        __syncthreads();
        body.work(step);
        __syncthreads();
    }
    body.finish();
}
#endif

}  // namespace FASTES_ISA
}  // namespace fastes
