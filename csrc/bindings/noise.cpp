#include "arguments.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {
namespace {

void philox4x32(const py::array& counters, const py::handle& key, int rounds, py::array out) {
    if (rounds != 7 && rounds != 10)
        throw py::value_error("rounds must be 7 or 10, not " + std::to_string(rounds) + ".");
    const auto* in = static_cast<const std::uint32_t*>(counters.data());
    const std::uint64_t number = integer(key, "key", ~std::uint64_t{0});
    auto* words = static_cast<std::uint32_t*>(writeable(out, "out", 4, static_cast<std::uint64_t>(counters.size())));
    const auto count = static_cast<std::size_t>(counters.size()) / 4;
    const py::gil_scoped_release released;
    kernels().philox(in, count, number, rounds, words);
}

void normal(const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& row,
            const py::handle& offset, const py::handle& kind, py::array out) {
    const Address at = address(seed, generation, stream, kind);
    const auto number = static_cast<std::uint32_t>(integer(row, "row", 0xFFFFFFFFu));
    const auto dim = static_cast<std::uint64_t>(out.size());
    const std::uint64_t first = checked_offset(offset, dim);
    float* to = writeable_floats(out, "out", dim);
    RowKey key;
    const KernelTable& table = kernels();
    table.row_keys(at, &number, 1, &key);
    const py::gil_scoped_release released;
    for_spans(first, dim, work(at.kind, 1, dim), [&](const Span& span) { table.fill(at, key, span, to); });
}

// A bfloat16 array comes as its bits, uint16: NumPy has no such dtype.
void perturb(const py::array& theta, const py::array& rows, const py::array& scales, const py::handle& seed,
             const py::handle& generation, const py::handle& stream, const py::handle& offset, const py::handle& kind,
             py::array out, const std::string& out_type) {
    const Address at = address(seed, generation, stream, kind);
    const OutputType type = output_type(out_type);
    const float* center = floats(theta, "theta");
    const float* scale = floats(scales, "scales");
    const Rows numbers(rows);
    same_length(static_cast<std::size_t>(scales.size()), "scales", numbers.size(), "rows");
    const auto dim = static_cast<std::uint64_t>(theta.size());
    const std::uint64_t first = checked_offset(offset, dim);
    void* to = writeable(out, "out", type == OutputType::float32 ? 4 : 2, numbers.size() * dim);
    for (const auto& [array, name] : {std::pair{&theta, "theta"}, {&scales, "scales"}, {&rows, "rows"}}) {
        no_overlap(out, "out", *array, name);
    }
    const KernelTable& table = kernels();
    const std::vector<RowKey> keys = row_keys(at, numbers);
    const Perturb args{center, numbers.data(), keys.data(), scale, keys.size(), to, dim, type};
    const py::gil_scoped_release released;
    for_spans(first, dim, work(at.kind, keys.size(), dim), [&](const Span& span) { table.perturb(at, args, span); });
}

void weighted_sum(const py::array& weights, const py::array& rows, const py::handle& seed, const py::handle& generation,
                  const py::handle& stream, const py::handle& offset, const py::handle& kind, py::array out) {
    const Address at = address(seed, generation, stream, kind);
    const RowsAndWeights weighted(at, weights, rows);
    const auto dim = static_cast<std::uint64_t>(out.size());
    const std::uint64_t first = checked_offset(offset, dim);
    float* to = writeable_floats(out, "out", dim);
    no_overlap(out, "out", weights, "weights");
    no_overlap(out, "out", rows, "rows");
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_spans(first, dim, weighted.work(dim),
              [&](const Span& span) { table.weighted_sum(at, weighted.view(), span, to); });
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

void register_noise(py::module_& module) {
    module.def("philox4x32", philox4x32, py::arg("counters"), py::arg("key"), py::arg("rounds"), py::arg("out"));
    module.def("normal", normal, py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("row"),
               py::arg("offset"), py::arg("kind"), py::arg("out"));
    module.def("perturb", perturb, py::arg("theta"), py::arg("rows"), py::arg("scales"), py::arg("seed"),
               py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"), py::arg("out"),
               py::arg("out_type"));
    module.def("weighted_sum", weighted_sum, py::arg("weights"), py::arg("rows"), py::arg("seed"),
               py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"), py::arg("out"));
    module.def("words_only", words_only, py::arg("row_count"), py::arg("dim"), py::arg("seed"));
}

}  // namespace fastes::bindings
