// Carries out plans through the CUDA runtime, and says what GPUs there are. Errors are std::runtime_error, in words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fastes/plan.hpp"

namespace fastes::cuda {

struct Properties {
    std::string name;
    std::pair<int, int> compute_capability;
    int multiprocessors;
    std::uint64_t memory_bytes;
};

// On a stream of the runtime, by its handle. Neither waits nor allocates, so it may be captured into a graph; the
// current device is the caller's again afterwards. Nothing is launched if one of the launches is not as the kernels
// are.
void launch(int device, std::uintptr_t stream, const std::vector<fastes::device::Launch>& launches);

int device_count();  // at least 1
Properties device_properties(int device);
int pointer_device(std::uintptr_t pointer);

// Why a GPU cannot run the kernels, if so. Loads all of them, so that no launch has to.
std::optional<std::string> problem(int device);

std::string describe();
std::optional<std::string> driver_version();

}  // namespace fastes::cuda
