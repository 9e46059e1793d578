#include "backends.hpp"

namespace fastes::bindings {
namespace {

LowRank low_rank(std::size_t m, std::size_t n, const py::handle& rank, const py::handle& offset) {
    if (m == 0 || n == 0 || m > max_elements || n > max_elements) {
        throw py::value_error("a tensor of low-rank noise must have sides from 1 to 2^34.");
    }
    const std::uint64_t r = integer(rank, "rank", max_elements / (m + n));
    return {m, n, static_cast<std::size_t>(r), checked_offset(offset, r * (m + n), "rank (m + n)")};
}

// out: float32 [K, rank, m + n].
template <class Backend, class A = typename Backend::Array>
auto low_rank_factors(const Backend& backend, const A& rows, std::size_t m, std::size_t n, const py::handle& rank,
                      const py::handle& seed, const py::handle& generation, const py::handle& stream,
                      const py::handle& offset, const py::handle& kind, const A& out) {
    const Address at = address(seed, generation, stream, kind);
    const Array list(rows), to(out);
    const RowArray numbers = row_array(list);
    const LowRank shape = low_rank(m, n, rank, offset);
    floats(to, "out", 3);
    auto* factors = static_cast<float*>(writeable(to, "out", 4, numbers.count * shape.factor_elements()));
    return backend.low_rank_factors(at, numbers, shape, factors);
}

// theta: float32 [m, n]; out: [K, m, n], a bfloat16 array as its bits where NumPy holds it.
template <class Backend, class A = typename Backend::Array>
auto low_rank_perturb(const Backend& backend, const A& theta, const A& rows, const A& scales, const py::handle& rank,
                      const py::handle& seed, const py::handle& generation, const py::handle& stream,
                      const py::handle& offset, const py::handle& kind, const A& out, const std::string& out_type) {
    const Address at = address(seed, generation, stream, kind);
    const OutputType type = output_type(out_type);
    const Array center(theta), list(rows), factors(scales), to(out);
    const float *from = floats(center, "theta", 2), *scale = floats(factors, "scales");
    const RowArray numbers = row_array(list);
    same_length(factors.size, "scales", numbers.count, "rows");
    const LowRank shape = low_rank(center.side(0), center.side(1), rank, offset);
    void* members = writeable(to, "out", type == OutputType::float32 ? 4 : 2, numbers.count * shape.m * shape.n);
    for (const Named& in : {Named{&center, "theta"}, {&factors, "scales"}, {&list, "rows"}}) {
        no_overlap({&to, "out"}, in);
    }
    return backend.low_rank_perturb(at, numbers, shape, from, scale, members, type);
}

// out: float32 [m, n].
template <class Backend, class A = typename Backend::Array>
auto low_rank_sum(const Backend& backend, const A& weights, const A& rows, const py::handle& rank,
                  const py::handle& seed, const py::handle& generation, const py::handle& stream,
                  const py::handle& offset, const py::handle& kind, const A& out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows), to(out);
    const WeightedArray weighted = weighted_array(factors, list);
    floats(to, "out", 2);
    const LowRank shape = low_rank(to.side(0), to.side(1), rank, offset);
    auto* sum = static_cast<float*>(writeable(to, "out", 4, shape.m * shape.n));
    no_overlap({&to, "out"}, {&factors, "weights"});
    no_overlap({&to, "out"}, {&list, "rows"});
    return backend.low_rank_sum(at, weighted, shape, sum);
}

// x: [K L, n], y: [K L, m], both of `type`, a bfloat16 array as its bits where NumPy holds it.
template <class Backend, class A = typename Backend::Array>
auto low_rank_apply(const Backend& backend, const A& x, const A& y, const A& rows, const A& scales,
                    const py::handle& rank, const py::handle& seed, const py::handle& generation,
                    const py::handle& stream, const py::handle& offset, const py::handle& kind,
                    const std::string& type_name) {
    const Address at = address(seed, generation, stream, kind);
    const OutputType type = output_type(type_name);
    const Array in(x), to(y), list(rows), factors(scales);
    floats(factors, "scales");
    const WeightedArray members{row_array(list), static_cast<const float*>(factors.data)};
    same_length(factors.size, "scales", members.rows.count, "rows");
    require_contiguous(in, "x");
    const LowRank shape = low_rank(to.side(1), in.side(1), rank, offset);
    void* out = writeable(to, "y", in.itemsize, in.side(0) * shape.m);
    for (const Named& read : {Named{&in, "x"}, {&factors, "scales"}, {&list, "rows"}}) no_overlap({&to, "y"}, read);
    const std::size_t count = in.side(0), of_member = count == 0 ? 1 : count / members.rows.count;
    return backend.low_rank_apply(at, members, shape, {in.data, out, type, count, of_member});
}

}  // namespace

void register_low_rank(Registry& both) {
    both.add("low_rank_factors", low_rank_factors<Cpu>, low_rank_factors<Gpu>, py::arg("rows"), py::arg("m"),
             py::arg("n"), py::arg("rank"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::arg("out"));
    both.add("low_rank_perturb", low_rank_perturb<Cpu>, low_rank_perturb<Gpu>, py::arg("theta"), py::arg("rows"),
             py::arg("scales"), py::arg("rank"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::arg("out"), py::arg("out_type"));
    both.add("low_rank_sum", low_rank_sum<Cpu>, low_rank_sum<Gpu>, py::arg("weights"), py::arg("rows"), py::arg("rank"),
             py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"),
             py::arg("out"));
    both.add("low_rank_apply", low_rank_apply<Cpu>, low_rank_apply<Gpu>, py::arg("x"), py::arg("y"), py::arg("rows"),
             py::arg("scales"), py::arg("rank"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::arg("dtype"));
}

}  // namespace fastes::bindings
