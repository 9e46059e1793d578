#include "entries.hpp"

#include "kernels.cu"

#define FASTES_LISTED(name, ...)                                                                 \
    {#name, reinterpret_cast<const void*>(&fastes_##name), sizeof(typename __VA_ARGS__::Params), \
     static_cast<unsigned>(__VA_ARGS__::threads)},

namespace fastes::cuda {

const Entry entries[] = {FASTES_DEVICE_KERNELS(FASTES_LISTED)};
const std::size_t entry_count = sizeof entries / sizeof entries[0];

}  // namespace fastes::cuda
