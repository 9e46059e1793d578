#include "backends.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {
namespace {

// What a step of an environment costs, in normals.
constexpr double normals_per_step = 32.0;

// Keys first, while the GIL is held: rows may be refused. Then `body(weighted rows, table)` without it.
template <class Body>
void with_weighted_rows(const Address& address, const WeightedArray& rows, const Body& body) {
    const KernelTable& table = kernels();
    const std::vector<RowKey> keys = row_keys(address, Rows(rows.rows));
    const py::gil_scoped_release released;
    body(WeightedRows{keys.data(), rows.weights, keys.size()}, table);
}

// The same for sums over elements: body(span, weighted rows, table).
template <class Body>
void for_weighted_spans(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                        const Body& body) {
    with_weighted_rows(address, rows, [&](const WeightedRows& weighted, const KernelTable& table) {
        for_spans(first, dim, work(address.kind, weighted.count, dim),
                  [&](const Span& span) { body(span, weighted, table); });
    });
}

// Without noise: body(span, table).
template <class Body>
void for_element_spans(std::uint64_t dim, const Body& body) {
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_spans(0, dim, static_cast<double>(dim), [&](const Span& span) { body(span, table); });
}

}  // namespace

void Cpu::philox(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds,
                 std::uint32_t* out) const {
    const py::gil_scoped_release released;
    kernels().philox(counters, count, key, rounds, out);
}

void Cpu::normal(const Address& address, std::uint32_t row, std::uint64_t first, std::uint64_t dim, float* out) const {
    RowKey key;
    const KernelTable& table = kernels();
    table.row_keys(address, &row, 1, &key);
    const py::gil_scoped_release released;
    for_spans(first, dim, work(address.kind, 1, dim), [&](const Span& span) { table.fill(address, key, span, out); });
}

void Cpu::perturb(const Address& address, const RowArray& rows, std::uint64_t first, Perturb args) const {
    const KernelTable& table = kernels();
    const Rows numbers(rows);
    const std::vector<RowKey> keys = row_keys(address, numbers);
    args.rows = numbers.data();
    args.keys = keys.data();
    const py::gil_scoped_release released;
    for_spans(first, args.stride, work(address.kind, args.count, args.stride),
              [&](const Span& span) { table.perturb(address, args, span); });
}

void Cpu::weighted_sum(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                       float* out) const {
    for_weighted_spans(address, rows, first, dim,
                       [&](const Span& span, const WeightedRows& weighted, const KernelTable& table) {
                           table.weighted_sum(address, weighted, span, out);
                       });
}

void Cpu::weighted_sums(const Address& address, const WeightedArray& rows, const float* square_weights,
                        std::uint64_t first, std::uint64_t dim, float* g, float* h) const {
    for_weighted_spans(address, rows, first, dim,
                       [&](const Span& span, const WeightedRows& weighted, const KernelTable& table) {
                           table.weighted_sums(address, weighted, square_weights, span, g, h);
                       });
}

void Cpu::sgd_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                   const SgdStep& step) const {
    for_weighted_spans(address, rows, first, dim,
                       [&](const Span& span, const WeightedRows& weighted, const KernelTable& table) {
                           table.sgd_step(address, weighted, span, step);
                       });
}

void Cpu::adam_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                    const AdamStep& step) const {
    for_weighted_spans(address, rows, first, dim,
                       [&](const Span& span, const WeightedRows& weighted, const KernelTable& table) {
                           table.adam_step(address, weighted, span, step);
                       });
}

void Cpu::snes_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                    const SnesStep& step) const {
    for_weighted_spans(address, rows, first, dim,
                       [&](const Span& span, const WeightedRows& weighted, const KernelTable& table) {
                           table.snes_step(address, weighted, span, step);
                       });
}

void Cpu::sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step) const {
    for_element_spans(dim, [&](const Span& span, const KernelTable& table) { table.sgd_apply(gradient, span, step); });
}

void Cpu::adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step) const {
    for_element_spans(dim, [&](const Span& span, const KernelTable& table) { table.adam_apply(gradient, span, step); });
}

void Cpu::clipup_sums(const float* gradient, std::uint64_t dim, const ClipUpStep& step) const {
    for_element_spans(dim,
                      [&](const Span& span, const KernelTable& table) { table.clipup_sums(gradient, span, step); });
}

void Cpu::clipup_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                      const ClipUpStep& step) const {
    with_weighted_rows(address, rows, [&](const WeightedRows& weighted, const KernelTable&) {
        fastes::clipup_step(address, weighted, first, dim, step);
    });
}

void Cpu::clipup_gradient(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                          const ClipUpStep& step) const {
    with_weighted_rows(address, rows, [&](const WeightedRows& weighted, const KernelTable&) {
        fastes::clipup_gradient(address, weighted, first, dim, step);
    });
}

void Cpu::low_rank_factors(const Address& address, const RowArray& rows, const LowRank& shape, float* out) const {
    const std::vector<RowKey> keys = row_keys(address, Rows(rows));
    const py::gil_scoped_release released;
    fastes::low_rank_factors(address, keys.data(), keys.size(), shape, out);
}

void Cpu::low_rank_perturb(const Address& address, const RowArray& rows, const LowRank& shape, const float* theta,
                           const float* scales, void* out, OutputType type) const {
    const std::vector<RowKey> keys = row_keys(address, Rows(rows));
    const py::gil_scoped_release released;
    fastes::low_rank_perturb(address, keys.data(), scales, keys.size(), shape, theta, out, type);
}

void Cpu::low_rank_sum(const Address& address, const WeightedArray& rows, const LowRank& shape, float* out) const {
    with_weighted_rows(address, rows, [&](const WeightedRows& weighted, const KernelTable&) {
        fastes::low_rank_sum(address, weighted, shape, out);
    });
}

void Cpu::low_rank_apply(const Address& address, const WeightedArray& members, const LowRank& shape,
                         const LayerRows& rows) const {
    const Rows numbers(members.rows);
    const std::vector<RowKey> keys = row_keys(address, numbers);
    const py::gil_scoped_release released;
    fastes::low_rank_apply(address, numbers.data(), keys.data(), members.weights, shape, rows);
}

void Cpu::environment_step(Dynamics dynamics, const EpisodeStep& step) const {
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_spans(0, step.count, normals_per_step * static_cast<double>(step.count),
              [&](const Span& span) { table.environment_step(dynamics, step, span.at, span.at + span.count); });
}

}  // namespace fastes::bindings
