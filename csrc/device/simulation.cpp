#include "device/simulation.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#define FASTES_ISA isa_device
#include "fastes/device/list.hpp"

namespace fastes::device {
namespace {

// A GPU's shared memory holds anything when a block begins.
constexpr int leftover_byte = 0xCB;

template <class Body>
void simulate_block(const typename Body::Params& parameters, std::uint32_t x, std::uint32_t y) {
    using Shared = typename Body::Shared;
    static_assert(std::is_trivially_copyable_v<Shared>);
    auto shared = std::make_unique<Shared>();
    std::memset(static_cast<void*>(shared.get()), leftover_byte, sizeof(Shared));
    std::vector<Body> threads;
    threads.reserve(Body::threads);
    for (std::uint32_t thread = 0; thread < Body::threads; ++thread) {
        threads.emplace_back(parameters, Place{x, y, thread}, *shared);
    }
    // Backwards in between: what a thread does before they wait must not depend on another's doing it before.
    const std::uint32_t steps = threads.front().steps();
    for (std::uint32_t step = 0; step < steps; ++step) {
        for (Body& body : threads) body.load(step);
        std::for_each(threads.rbegin(), threads.rend(), [step](Body& body) { body.work(step); });
    }
    for (Body& body : threads) {
        if (body.steps() != steps) throw std::logic_error("threads of a block wait for each other unequally often");
        body.finish();
    }
}

template <class Body>
void simulate_grid(const Launch& launch) {
    using Params = typename Body::Params;
    if (launch.parameters.size() != sizeof(Params) || launch.threads != Body::threads) {
        throw std::invalid_argument("launch of " + launch.kernel + " has other parameters or threads");
    }
    const std::vector<Params> parameters = [&] {
        alignas(Params) std::byte memory[sizeof(Params)];
        std::memcpy(memory, launch.parameters.data(), sizeof memory);
        return std::vector<Params>(1, *reinterpret_cast<const Params*>(memory));
    }();
    for (std::uint32_t y = 0; y < launch.grid_y; ++y) {
        for (std::uint32_t x = 0; x < launch.grid_x; ++x) simulate_block<Body>(parameters.front(), x, y);
    }
}

struct Simulated {
    const char* name;
    void (*run)(const Launch&);
};

#define FASTES_SIMULATED(name, ...) {#name, simulate_grid<__VA_ARGS__>},
const Simulated kernels[] = {FASTES_DEVICE_KERNELS(FASTES_SIMULATED)};

}  // namespace

void simulate(const Launch& launch) {
    for (const Simulated& kernel : kernels) {
        if (launch.kernel == kernel.name) return kernel.run(launch);
    }
    throw std::invalid_argument("there is no kernel " + launch.kernel);
}

}  // namespace fastes::device
