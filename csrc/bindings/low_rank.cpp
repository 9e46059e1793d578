#include "arguments.hpp"
#include "fastes/passes.hpp"

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
void low_rank_factors(const py::array& rows, std::size_t m, std::size_t n, const py::handle& rank,
                      const py::handle& seed, const py::handle& generation, const py::handle& stream,
                      const py::handle& offset, const py::handle& kind, py::array out) {
    const Address at = address(seed, generation, stream, kind);
    const Rows numbers(rows);
    const LowRank shape = low_rank(m, n, rank, offset);
    floats(out, "out", 3);
    auto* to = static_cast<float*>(writeable(out, "out", 4, numbers.size() * shape.factor_elements()));
    const std::vector<RowKey> keys = row_keys(at, numbers);
    const py::gil_scoped_release released;
    fastes::low_rank_factors(at, keys.data(), keys.size(), shape, to);
}

// theta: float32 [m, n]; out: [K, m, n], a bfloat16 array as its bits.
void low_rank_perturb(const py::array& theta, const py::array& rows, const py::array& scales, const py::handle& rank,
                      const py::handle& seed, const py::handle& generation, const py::handle& stream,
                      const py::handle& offset, const py::handle& kind, py::array out, const std::string& out_type) {
    const Address at = address(seed, generation, stream, kind);
    const OutputType type = output_type(out_type);
    const float* center = floats(theta, "theta", 2);
    const float* scale = floats(scales, "scales");
    const Rows numbers(rows);
    same_length(static_cast<std::size_t>(scales.size()), "scales", numbers.size(), "rows");
    const LowRank shape =
        low_rank(static_cast<std::size_t>(theta.shape(0)), static_cast<std::size_t>(theta.shape(1)), rank, offset);
    void* to = writeable(out, "out", type == OutputType::float32 ? 4 : 2, numbers.size() * shape.m * shape.n);
    for (const auto& [array, name] : {std::pair{&theta, "theta"}, {&scales, "scales"}, {&rows, "rows"}}) {
        no_overlap(out, "out", *array, name);
    }
    const std::vector<RowKey> keys = row_keys(at, numbers);
    const py::gil_scoped_release released;
    fastes::low_rank_perturb(at, keys.data(), scale, keys.size(), shape, center, to, type);
}

// out: float32 [m, n].
void low_rank_sum(const py::array& weights, const py::array& rows, const py::handle& rank, const py::handle& seed,
                  const py::handle& generation, const py::handle& stream, const py::handle& offset,
                  const py::handle& kind, py::array out) {
    const Address at = address(seed, generation, stream, kind);
    const RowsAndWeights weighted(at, weights, rows);
    floats(out, "out", 2);
    const LowRank shape =
        low_rank(static_cast<std::size_t>(out.shape(0)), static_cast<std::size_t>(out.shape(1)), rank, offset);
    auto* to = static_cast<float*>(writeable(out, "out", 4, shape.m * shape.n));
    no_overlap(out, "out", weights, "weights");
    no_overlap(out, "out", rows, "rows");
    const py::gil_scoped_release released;
    fastes::low_rank_sum(at, weighted.view(), shape, to);
}

}  // namespace

void register_low_rank(py::module_& module) {
    module.def("low_rank_factors", low_rank_factors, py::arg("rows"), py::arg("m"), py::arg("n"), py::arg("rank"),
               py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"),
               py::arg("out"));
    module.def("low_rank_perturb", low_rank_perturb, py::arg("theta"), py::arg("rows"), py::arg("scales"),
               py::arg("rank"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
               py::arg("kind"), py::arg("out"), py::arg("out_type"));
    module.def("low_rank_sum", low_rank_sum, py::arg("weights"), py::arg("rows"), py::arg("rank"), py::arg("seed"),
               py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"), py::arg("out"));
}

}  // namespace fastes::bindings
