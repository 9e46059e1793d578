// The kernels of fastes/device/list.hpp as a GPU's entry points, each of one argument. nvcc compiles this file into the
// extension _cuda; NVRTC compiles the same file where that was not built.
#define FASTES_ISA isa_cuda

#include "fastes/device/list.hpp"

#define FASTES_ENTRY(name, ...)                                                 \
    extern "C" __global__ void __launch_bounds__((__VA_ARGS__::threads))        \
        fastes_##name(const __grid_constant__ __VA_ARGS__::Params parameters) { \
        run_thread<__VA_ARGS__>(parameters);                                    \
    }

namespace fastes {
inline namespace FASTES_ISA {
FASTES_DEVICE_KERNELS(FASTES_ENTRY)
}
}  // namespace fastes
