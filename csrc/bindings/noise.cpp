#include <pybind11/stl.h>

#include <optional>

#include "backends.hpp"
#include "fastes/dispatch.hpp"

namespace fastes::bindings {
namespace {

// counters: uint32 [..., 4].
template <class Backend, class A = typename Backend::Array>
auto philox4x32(const Backend& backend, const A& counters, const py::handle& key, int rounds, const A& out) {
    if (rounds != 7 && rounds != 10)
        throw py::value_error("rounds must be 7 or 10, not " + std::to_string(rounds) + ".");
    const Array in(counters), to(out);
    require_contiguous(in, "counters");
    const std::uint64_t number = integer(key, "key", ~std::uint64_t{0});
    auto* words = static_cast<std::uint32_t*>(writeable(to, "out", 4, in.size));
    return backend.philox(static_cast<const std::uint32_t*>(in.data), in.size / 4, number, rounds, words);
}

template <class Backend, class A = typename Backend::Array>
auto normal(const Backend& backend, const py::handle& seed, const py::handle& generation, const py::handle& stream,
            const py::handle& row, const py::handle& offset, const py::handle& kind, const A& out) {
    const Address at = address(seed, generation, stream, kind);
    const auto number = static_cast<std::uint32_t>(integer(row, "row", 0xFFFFFFFFu));
    const Array to(out);
    const std::uint64_t first = checked_offset(offset, to.size);
    return backend.normal(at, number, first, to.size, writeable_floats(to, "out", to.size));
}

// A bfloat16 array comes as its bits where NumPy, which has no such dtype, holds it.
template <class Backend, class A = typename Backend::Array>
auto perturb(const Backend& backend, const A& theta, const A& rows, const A& scales, const py::handle& seed,
             const py::handle& generation, const py::handle& stream, const py::handle& offset, const py::handle& kind,
             const A& out, const std::string& out_type, const std::optional<A>& sigma) {
    const Address at = address(seed, generation, stream, kind);
    const OutputType type = output_type(out_type);
    const Array center(theta), list(rows), factors(scales), to(out);
    const float *from = floats(center, "theta"), *scale = floats(factors, "scales");
    const RowArray numbers = row_array(list);
    same_length(factors.size, "scales", numbers.count, "rows");
    const std::uint64_t dim = center.size, first = checked_offset(offset, dim);
    void* members = writeable(to, "out", type == OutputType::float32 ? 4 : 2, numbers.count * dim);
    for (const Named& in : {Named{&center, "theta"}, {&factors, "scales"}, {&list, "rows"}}) {
        no_overlap({&to, "out"}, in);
    }
    Perturb args{from, nullptr, nullptr, scale, numbers.count, members, dim, type};
    if (sigma) {
        const Array scales_of_elements(*sigma);
        args.sigma = floats(scales_of_elements, "sigma");
        same_length(scales_of_elements.size, "sigma", dim, "theta");
        no_overlap({&to, "out"}, {&scales_of_elements, "sigma"});
    }
    return backend.perturb(at, numbers, first, args);
}

template <class Backend, class A = typename Backend::Array>
auto weighted_sum(const Backend& backend, const A& weights, const A& rows, const py::handle& seed,
                  const py::handle& generation, const py::handle& stream, const py::handle& offset,
                  const py::handle& kind, const A& out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows), to(out);
    const WeightedArray weighted = weighted_array(factors, list);
    const std::uint64_t first = checked_offset(offset, to.size);
    float* sum = writeable_floats(to, "out", to.size);
    no_overlap({&to, "out"}, {&factors, "weights"});
    no_overlap({&to, "out"}, {&list, "rows"});
    return backend.weighted_sum(at, weighted, first, to.size, sum);
}

template <class Backend, class A = typename Backend::Array>
auto weighted_sums(const Backend& backend, const A& weights, const A& square_weights, const A& rows,
                   const py::handle& seed, const py::handle& generation, const py::handle& stream,
                   const py::handle& offset, const py::handle& kind, const A& g, const A& h) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), square_factors(square_weights), list(rows), to(g), squares_to(h);
    const WeightedArray weighted = weighted_array(factors, list);
    const float* of_squares = floats(square_factors, "square_weights");
    same_length(square_factors.size, "square_weights", weighted.rows.count, "rows");
    const std::uint64_t first = checked_offset(offset, to.size);
    float *sum = writeable_floats(to, "g", to.size), *square_sum = writeable_floats(squares_to, "h", to.size);
    for (const Named& out : {Named{&to, "g"}, {&squares_to, "h"}}) {
        for (const Named& in : {Named{&factors, "weights"}, {&square_factors, "square_weights"}, {&list, "rows"}}) {
            no_overlap(out, in);
        }
    }
    no_overlap({&to, "g"}, {&squares_to, "h"});
    return backend.weighted_sums(at, weighted, of_squares, first, to.size, sum, square_sum);
}

// The words of a weighted sum without the transform, on the calling thread: what benchmarks measure it against.
std::uint32_t words_only(std::size_t row_count, std::uint64_t dim, const py::handle& seed) {
    const Address at = address(seed, py::int_(0), py::int_(0), py::str("normal"));
    std::vector<std::uint32_t> rows(row_count);
    for (std::size_t k = 0; k < row_count; ++k) rows[k] = static_cast<std::uint32_t>(k);
    std::vector<RowKey> keys(row_count);
    const KernelTable& table = kernels();
    table.row_keys(at, rows.data(), row_count, keys.data());
    std::uint32_t out[64] = {};
    const py::gil_scoped_release released;
    table.words_only(at, {keys.data(), nullptr, row_count}, {0, 0, dim}, out);
    std::uint32_t folded = 0;
    for (const std::uint32_t word : out) folded ^= word;
    return folded;
}

}  // namespace

void register_noise(py::module_& module, Registry& both) {
    both.add("philox4x32", philox4x32<Cpu>, philox4x32<Gpu>, py::arg("counters"), py::arg("key"), py::arg("rounds"),
             py::arg("out"));
    both.add("normal", normal<Cpu>, normal<Gpu>, py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("row"), py::arg("offset"), py::arg("kind"), py::arg("out"));
    both.add("perturb", perturb<Cpu>, perturb<Gpu>, py::arg("theta"), py::arg("rows"), py::arg("scales"),
             py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"),
             py::arg("out"), py::arg("out_type"), py::arg("sigma").none(true) = py::none());
    both.add("weighted_sum", weighted_sum<Cpu>, weighted_sum<Gpu>, py::arg("weights"), py::arg("rows"), py::arg("seed"),
             py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"), py::arg("out"));
    both.add("weighted_sums", weighted_sums<Cpu>, weighted_sums<Gpu>, py::arg("weights"), py::arg("square_weights"),
             py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
             py::arg("kind"), py::arg("g"), py::arg("h"));
    module.def("words_only", words_only, py::arg("row_count"), py::arg("dim"), py::arg("seed"));
}

}  // namespace fastes::bindings
