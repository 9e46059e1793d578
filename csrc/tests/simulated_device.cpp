// The simulation as a library with one C function, for tests in Python.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>

#include "device/simulation.hpp"

// Runs one launch; gives null, or what went wrong, which holds until the next call of the same thread.
extern "C" __attribute__((visibility("default"))) const char* fastes_simulate(const char* kernel, std::uint32_t grid_x,
                                                                              std::uint32_t grid_y,
                                                                              std::uint32_t threads,
                                                                              const void* parameters,
                                                                              std::size_t size) {
    thread_local std::string problem;
    try {
        const auto* bytes = static_cast<const std::byte*>(parameters);
        fastes::device::simulate({kernel, grid_x, grid_y, threads, {bytes, bytes + size}});
        return nullptr;
    } catch (const std::exception& error) {
        problem = error.what();
        return problem.c_str();
    }
}
