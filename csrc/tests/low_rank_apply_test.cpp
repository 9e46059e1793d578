// Low-rank noise applied to inputs: on all instruction sets and simulated GPUs what the scalar kernels give.
#include "tensor.hpp"

namespace fastes::tests {
namespace {

const Target gpus[] = {{device::Processor{0}, true, 1}, {device::Processor{100}, false, 2}};

struct Results {
    std::vector<float> floats;
    std::vector<std::uint16_t> halves, brains;
};

// Numbers around 1 and subnormal ones as bits of a 16-bit type of which `one` is 1.
std::vector<std::uint16_t> sixteen_bits(std::size_t count, std::uint32_t one) {
    std::vector<std::uint16_t> values(count);
    for (std::size_t j = 0; j < count; ++j) {
        const std::uint32_t hash = 2654435761u * static_cast<std::uint32_t>(j);
        const std::uint32_t size = j % 5 == 0 ? hash >> 28 : one + (hash >> 24) - 128u;
        values[j] = static_cast<std::uint16_t>(size | (hash >> 8 & 1u) << 15);
    }
    return values;
}

Results results_of(const Tensor& tensor, std::size_t of_member) {
    const std::size_t count = tensor.rows.size() * of_member, in = count * tensor.shape.n, out = count * tensor.shape.m;
    const auto scales = ramps(tensor.rows.size());
    return {
        tensor.apply<float>(ramps(in), ramps(out), scales, OutputType::float32),
        tensor.apply<std::uint16_t>(sixteen_bits(in, 0x3C00), sixteen_bits(out, 0x3C00), scales, OutputType::float16),
        tensor.apply<std::uint16_t>(sixteen_bits(in, 0x3F80), sixteen_bits(out, 0x3F80), scales, OutputType::bfloat16),
    };
}

void check_same(const Results& a, const Results& b, const std::string& where) {
    tests::check_same(a.floats, b.floats, "low_rank_apply to float32" + where);
    tests::check_same(a.halves, b.halves, "low_rank_apply to float16" + where);
    tests::check_same(a.brains, b.brains, "low_rank_apply to bfloat16" + where);
}

void check_everywhere(const Tensor& tensor, std::size_t of_member, const std::vector<int>& thread_counts) {
    const std::string what = std::string(" of ") + name_of(tensor.address.kind) + ", " +
                             std::to_string(tensor.shape.m) + " x " + std::to_string(tensor.shape.n) + ", rank " +
                             std::to_string(tensor.shape.rank) + ", " + std::to_string(of_member) + " rows a member";
    select_isa("scalar");
    set_num_threads(1);
    const Results expected = results_of(tensor, of_member);
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : thread_counts) {
            set_num_threads(threads);
            check_same(expected, results_of(tensor, of_member),
                       what + " on " + isa + ", " + std::to_string(threads) + " threads");
        }
    }
    for (const Target& gpu : gpus) {
        target = gpu;
        check_same(expected, results_of(tensor, of_member),
                   what + ", " + std::to_string(gpu.gpu->multiprocessors) + " multiprocessors");
    }
    target = {};
}

// With scales of 0, y is read and written: every number of 16 bits that is none of the NaN.
void test_all_halves() {
    std::vector<std::uint16_t> halves, brains;
    for (std::uint32_t x = 0; x < 65536; ++x) {
        if ((x & 0x7FFFu) <= 0x7C00u && x != 0x8000u) halves.push_back(static_cast<std::uint16_t>(x));
        if ((x & 0x7FFFu) <= 0x7F80u && x != 0x8000u) brains.push_back(static_cast<std::uint16_t>(x));
    }
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        const Tensor of_halves{{1, 4, 2, Kind::normal}, {5}, {halves.size(), 1, 1, 0}};
        const Tensor of_brains{{1, 4, 2, Kind::normal}, {5}, {brains.size(), 1, 1, 0}};
        tests::check_same(halves, of_halves.apply<std::uint16_t>({0x3C00}, halves, {0.0f}, OutputType::float16),
                          "all of float16 on " + isa);
        tests::check_same(brains, of_brains.apply<std::uint16_t>({0x3F80}, brains, {0.0f}, OutputType::bfloat16),
                          "all of bfloat16 on " + isa);
    }
}

}  // namespace

// Sides around lanes, the 128 chains that stay apart longest, the 1024 chains and the tiles of 2048.
void test_low_rank_apply() {
    const std::size_t sides[] = {1, 5, 16, 17, 127, 128, 130, 1023, 1024, 1025, 2049};
    const std::vector<std::uint32_t> members[] = {{3, 3, 9, 9, 4}, {0xFFFFFFFFu, 3, 0xFFFFFFFFu}, {7}};
    std::size_t number = 0;
    for (const Kind kind : kinds) {
        for (const std::size_t n : sides) {
            const std::size_t m = sides[(3 * number + 1) % std::size(sides)], rank = 1 + number % 3;
            const std::uint64_t first = number % 4 == 3 ? max_elements - rank * (m + n) : 97 * number;
            check_everywhere({{9, 4, 0xFFFFFFFFu, kind}, members[number % 3], {m, n, rank, first}}, 1 + number % 5,
                             {1});
            ++number;
        }
        // Pieces enough for seven threads; and more rows of one noise than a piece has.
        check_everywhere({{1, 4, 2, kind}, rows_from(0, 40), {2100, 1030, 2, 5}}, 2, {1, 2, 7});
        check_everywhere({{1, 4, 2, kind}, {2, 2, 8}, {65, 1030, 1, 6}}, 70, {1, 2, 7});
    }
    test_all_halves();
}

}  // namespace fastes::tests
