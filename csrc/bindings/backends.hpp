// What becomes of arguments once they are checked: `Cpu` computes at once, `Gpu` plans what a GPU shall do. An
// operation is a template over the two, so that both have one list of arguments and one set of checks.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <utility>

#include "arguments.hpp"
#include "fastes/passes.hpp"
#include "fastes/plan.hpp"

namespace fastes::bindings {

struct Cpu {
    using Array = py::array;

    void philox(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds,
                std::uint32_t* out) const;
    void normal(const Address& address, std::uint32_t row, std::uint64_t first, std::uint64_t dim, float* out) const;

    // `rows` and `keys` of Perturb are not set.
    void perturb(const Address& address, const RowArray& rows, std::uint64_t first, Perturb args) const;

    void weighted_sum(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                      float* out) const;
    void weighted_sums(const Address& address, const WeightedArray& rows, const float* square_weights,
                       std::uint64_t first, std::uint64_t dim, float* g, float* h) const;
    void sgd_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                  const SgdStep& step) const;
    void adam_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                   const AdamStep& step) const;
    void snes_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                   const SnesStep& step) const;
    void sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step) const;
    void adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step) const;
    void clipup_sums(const float* gradient, std::uint64_t dim, const ClipUpStep& step) const;
    void clipup_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                     const ClipUpStep& step) const;
    void clipup_gradient(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                         const ClipUpStep& step) const;

    void low_rank_factors(const Address& address, const RowArray& rows, const LowRank& shape, float* out) const;
    void low_rank_perturb(const Address& address, const RowArray& rows, const LowRank& shape, const float* theta,
                          const float* scales, void* out, OutputType type) const;
    void low_rank_sum(const Address& address, const WeightedArray& rows, const LowRank& shape, float* out) const;
    void low_rank_apply(const Address& address, const WeightedArray& members, const LowRank& shape,
                        const LayerRows& rows) const;

    void environment_step(Dynamics dynamics, const EpisodeStep& step) const;
};

// Row numbers are in the GPU's memory, so nobody looks whether they are below 2^32: lower halves count.
struct Gpu {
    using Array = DeviceArray;
    device::Processor processor;

    device::Plan philox(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds,
                        std::uint32_t* out) const;
    device::Plan normal(const Address& address, std::uint32_t row, std::uint64_t first, std::uint64_t dim,
                        float* out) const;
    device::Plan perturb(const Address& address, const RowArray& rows, std::uint64_t first, const Perturb& args) const;
    device::Plan weighted_sum(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                              float* out) const;
    device::Plan weighted_sums(const Address& address, const WeightedArray& rows, const float* square_weights,
                               std::uint64_t first, std::uint64_t dim, float* g, float* h) const;
    device::Plan snes_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                           const SnesStep& step) const;
    device::Plan sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step) const;
    device::Plan adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step) const;
    device::Plan sgd_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                          const SgdStep& step) const;
    device::Plan adam_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                           const AdamStep& step) const;
    device::Plan clipup_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                             const ClipUpStep& step) const;
    device::Plan low_rank_factors(const Address& address, const RowArray& rows, const LowRank& shape, float* out) const;
    device::Plan low_rank_perturb(const Address& address, const RowArray& rows, const LowRank& shape,
                                  const float* theta, const float* scales, void* out, OutputType type) const;
    device::Plan low_rank_sum(const Address& address, const WeightedArray& rows, const LowRank& shape,
                              float* out) const;
    device::Plan low_rank_apply(const Address& address, const WeightedArray& members, const LowRank& shape,
                                const LayerRows& rows) const;
    device::Plan environment_step(Dynamics dynamics, const EpisodeStep& step) const;
};

// Where operations are registered: as functions of the module, and as methods of `Planner`.
class Registry {
public:
    Registry(py::module_& module, py::class_<Gpu>& planner) : module_(module), planner_(planner) {}

    template <class... Here, class... There, class... Extra>
    void add(const char* name, void (*here)(const Cpu&, Here...), device::Plan (*there)(const Gpu&, There...),
             const Extra&... extra) {
        module_.def(name, [here](Here... arguments) { here(Cpu{}, std::forward<Here>(arguments)...); }, extra...);
        planner_.def(name, there, extra...);
    }

private:
    py::module_& module_;
    py::class_<Gpu>& planner_;
};

py::class_<Gpu> register_plans(py::module_& module);
void register_info(py::module_& module);
void register_mlp(py::module_& module);
void register_rollout(py::module_& module);  // after register_mlp
void register_noise(py::module_& module, Registry& both);
void register_environments(Registry& both);
void register_low_rank(Registry& both);
void register_optimizers(py::module_& module, Registry& both);

}  // namespace fastes::bindings
