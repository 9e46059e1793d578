// The kernels as the CUDA runtime knows them, by the names that plans use (fastes/plan.hpp).
#pragma once

#include <cstddef>

namespace fastes::cuda {

struct Entry {
    const char* name;
    const void* function;
    std::size_t parameter_bytes;
    unsigned threads;
};

extern const Entry entries[];
extern const std::size_t entry_count;

}  // namespace fastes::cuda
