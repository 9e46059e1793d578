// The kernels for GPUs, run by the CPU over a simulated grid, against the CPU's own.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "tensor.hpp"
#include "workload.hpp"

namespace fastes::tests {
namespace {

// All kernels of elements on one set of inputs.
struct Results {
    std::vector<float> noise, perturbed, sum;
    std::vector<std::uint16_t> halves, brains;
    SgdState plain, momentum;
    AdamState adam;
    ClipUpState clipup;
    std::vector<float> scaled;
    std::vector<std::uint16_t> scaled_halves;
    Sums sums;
    SnesState snes;
    SgdState applied;
    AdamState adam_applied;
};

Results results_of(const Noise& noise) {
    const auto weights = ramps(noise.rows.size()), theta = ramps(noise.dim);
    std::vector<float> other(theta.rbegin(), theta.rend()), squares = theta;
    for (float& x : squares) x *= x;
    // Few members, mirrored pairs among them at odd and even places.
    Noise few = noise;
    few.rows.resize(std::min<std::size_t>(few.rows.size(), 9));
    for (std::size_t k = 1; k < few.rows.size(); ++k) few.rows[k] = few.rows[k % 3 == 0 ? k - 1 : k];
    SgdStep sgd{};
    sgd.lr = 0.01f, sgd.l2 = 1e-3f, sgd.decay = 0.999f;
    SgdStep nesterov = sgd;
    nesterov.momentum = 0.9f, nesterov.nesterov = true;
    AdamStep adam{};
    adam.step = 0.1f, adam.v_scale = 31.6f, adam.epsilon = 1e-8f, adam.l2 = 1e-3f, adam.decay = 0.999f;
    adam.beta1 = 0.9f, adam.one_minus_beta1 = 0.1f, adam.beta2 = 0.999f, adam.one_minus_beta2 = 0.001f;
    ClipUpStep clipup{};
    clipup.lr = 0.15, clipup.momentum = 0.9, clipup.max_speed = 0.3, clipup.l2 = 1e-3f, clipup.decay = 0.999f;
    SnesStep snes{};
    snes.lr = 0.5f, snes.half_lr_sigma = 0.1f;
    const auto uphill = noise.normal();
    return {
        noise.normal(),
        few.perturb<float>(theta, weights, OutputType::float32),
        noise.weighted_sum(weights),
        few.perturb<std::uint16_t>(theta, weights, OutputType::float16),
        few.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16),
        noise.sgd_step(weights, {theta, {}}, sgd),
        noise.sgd_step(weights, {theta, other}, nesterov),
        noise.adam_step(weights, {theta, other, squares}, adam),
        noise.clipup_step(weights, {theta, other}, clipup),
        few.perturb<float>(theta, weights, OutputType::float32, squares),
        few.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16, squares),
        noise.weighted_sums(weights, {weights.rbegin(), weights.rend()}),
        noise.snes_step(weights, {theta, squares}, snes),
        sgd_apply(uphill, {theta, other}, nesterov),
        adam_apply(uphill, {theta, other, squares}, adam),
    };
}

void check_same(const Results& a, const Results& b, const std::string& place) {
    tests::check_same(a.noise, b.noise, "fill" + place);
    tests::check_same(a.perturbed, b.perturbed, "perturb to float32" + place);
    tests::check_same(a.halves, b.halves, "perturb to float16" + place);
    tests::check_same(a.brains, b.brains, "perturb to bfloat16" + place);
    tests::check_same(a.sum, b.sum, "weighted_sum" + place);
    tests::check_same(a.plain.theta, b.plain.theta, "sgd_step" + place);
    tests::check_same(a.momentum.theta, b.momentum.theta, "sgd_step with momentum" + place);
    tests::check_same(a.momentum.momentum, b.momentum.momentum, "momentum of sgd_step" + place);
    tests::check_same(a.adam.theta, b.adam.theta, "adam_step" + place);
    tests::check_same(a.adam.m, b.adam.m, "m of adam_step" + place);
    tests::check_same(a.adam.v, b.adam.v, "v of adam_step" + place);
    tests::check_same(a.clipup.theta, b.clipup.theta, "clipup_step" + place);
    tests::check_same(a.clipup.velocity, b.clipup.velocity, "velocity of clipup_step" + place);
    tests::check_same(a.scaled, b.scaled, "perturb with sigma" + place);
    tests::check_same(a.scaled_halves, b.scaled_halves, "perturb with sigma to bfloat16" + place);
    tests::check_same(a.sums.g, b.sums.g, "g of weighted_sums" + place);
    tests::check_same(a.sums.h, b.sums.h, "h of weighted_sums" + place);
    tests::check_same(a.snes.theta, b.snes.theta, "snes_step" + place);
    tests::check_same(a.snes.sigma, b.snes.sigma, "sigma of snes_step" + place);
    tests::check_same(a.applied.theta, b.applied.theta, "sgd_apply" + place);
    tests::check_same(a.applied.momentum, b.applied.momentum, "momentum of sgd_apply" + place);
    tests::check_same(a.adam_applied.theta, b.adam_applied.theta, "adam_apply" + place);
    tests::check_same(a.adam_applied.v, b.adam_applied.v, "v of adam_apply" + place);
}

// GPUs of many multiprocessors split chunks over blocks; those of none never do. With little scratch memory the
// work comes in several parts.
const Target gpus[] = {
    {device::Processor{0}, true, 1},    {device::Processor{0}, false, 2},     {device::Processor{100}, true, 2},
    {device::Processor{100}, false, 1}, {device::Processor{100, 1}, true, 1}, {device::Processor{0, 1}, false, 2},
};

std::string place(const Noise& noise, const Target& gpu) {
    return std::string(" of ") + name_of(noise.address.kind) + ", dim " + std::to_string(noise.dim) + ", offset " +
           std::to_string(noise.offset) + ", " + std::to_string(noise.rows.size()) + " rows, " +
           std::to_string(gpu.gpu->multiprocessors) + " multiprocessors" + (gpu.aligned ? "" : ", unaligned");
}

// On two of the GPUs: the next call takes two others.
void check_elements(const Noise& noise, std::size_t number) {
    target = {};
    const Results expected = results_of(noise);
    for (const std::size_t which : {number, number + 3}) {
        const Target& gpu = gpus[which % std::size(gpus)];
        target = gpu;
        check_same(expected, results_of(noise), place(noise, gpu));
    }
    target = {};
}

// Every size around a quad, a block of Philox of each kind and a block of the grid; every way to begin inside one.
void test_elements() {
    const std::size_t dims[] = {1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 97, 127, 128, 129, 1023, 1024, 1025, 4099};
    const std::size_t counts[] = {0, 1, 3, 4, 5, 63, 64, 65, 129, 200};
    const std::uint64_t offsets[] = {0, 1, 2, 3, 4, 16, 31, 127, 128, 8191};
    std::size_t number = 0;
    for (const Kind kind : kinds) {
        for (const std::size_t dim : dims) {
            for (const std::uint64_t offset : offsets) {
                const std::size_t count = dim > 200 && number % 4 != 0 ? 3 : counts[number % std::size(counts)];
                const std::uint64_t first = number % 7 == 6 ? max_elements - dim : offset;
                ++number;
                Noise noise{
                    {0xFEDCBA9876543210u + number, 256, 0xFFFFFFFFu, kind}, rows_from(0xFFFFFFF0u, count), first, dim};
                if (noise.rows.empty()) {  // fill and perturb want a row
                    target = {};
                    const auto expected = noise.weighted_sum({});
                    for (const Target& gpu : gpus) {
                        target = gpu;
                        tests::check_same(expected, noise.weighted_sum({}), "empty weighted_sum" + place(noise, gpu));
                    }
                    continue;
                }
                check_elements(noise, number);
            }
        }
    }
}

// More members than rows of blocks that a grid can have.
void test_many_members() {
    constexpr std::size_t count = 140'001;
    const Noise noise{{5, 0, 0, Kind::rademacher}, rows_from(0, count), 1, 2};
    const std::vector<float> theta{1.0f, -2.0f}, scales = ramps(count);
    target = {};
    const auto expected = noise.perturb<float>(theta, scales, OutputType::float32);
    target = gpus[2];
    tests::check_same(expected, noise.perturb<float>(theta, scales, OutputType::float32), "140,001 members");
    target = {};
}

struct LowRankResults {
    std::vector<float> factors, perturbed, sum;
    std::vector<std::uint16_t> halves, brains;
};

LowRankResults results_of(const Tensor& tensor) {
    const auto weights = ramps(tensor.rows.size()), theta = ramps(tensor.size());
    Tensor few = tensor;
    few.rows.resize(std::min<std::size_t>(few.rows.size(), 5));
    for (std::size_t k = 1; k < few.rows.size(); ++k) few.rows[k] = few.rows[k % 3 == 0 ? k - 1 : k];
    return {
        few.factors(),
        few.perturb<float>(theta, weights, OutputType::float32),
        tensor.sum(weights),
        few.perturb<std::uint16_t>(theta, weights, OutputType::float16),
        few.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16),
    };
}

// Sides around a quad and the tiles of 64; ranks around the eight components that a block makes at a time.
void test_tensors() {
    const std::size_t sides[] = {1, 3, 4, 5, 16, 63, 64, 65, 67, 130};
    const std::size_t counts[] = {0, 1, 3, 63, 64, 65, 131};
    const std::size_t ranks[] = {1, 2, 7, 8, 9};
    std::size_t number = 0;
    for (const Kind kind : kinds) {
        for (const std::size_t m : sides) {
            const std::size_t n = sides[(3 * number + 1) % std::size(sides)],
                              count = counts[number % std::size(counts)];
            const std::size_t rank = ranks[number % std::size(ranks)];
            ++number;
            const std::uint64_t first = number % 2 == 0 ? 97 * number : max_elements - rank * (m + n);
            const Tensor tensor{{9, 4, 3, kind}, rows_from(0xFFFFFFFEu, count), {m, n, rank, first}};
            target = {};
            const LowRankResults expected = results_of(tensor);
            for (const Target& gpu : gpus) {
                target = gpu;
                const LowRankResults actual = results_of(tensor);
                const std::string text = std::string(" of ") + name_of(kind) + ", " + std::to_string(m) + " x " +
                                         std::to_string(n) + ", rank " + std::to_string(rank) + ", " +
                                         std::to_string(count) + " rows, " + std::to_string(gpu.gpu->multiprocessors) +
                                         " multiprocessors";
                tests::check_same(expected.factors, actual.factors, "low_rank_factors" + text);
                tests::check_same(expected.perturbed, actual.perturbed, "low_rank_perturb to float32" + text);
                tests::check_same(expected.halves, actual.halves, "low_rank_perturb to float16" + text);
                tests::check_same(expected.brains, actual.brains, "low_rank_perturb to bfloat16" + text);
                tests::check_same(expected.sum, actual.sum, "low_rank_sum" + text);
            }
            target = {};
        }
    }
}

// The words themselves, and the transform over words that a stride picks, against what the CPU committed.
void test_ceiling_and_digests() {
    const Address address{11, 0, 7};
    const auto rows = rows_from(3, 65);
    const auto keys = row_keys(address, rows);
    const auto weights = ramps(rows.size());
    constexpr std::uint64_t dim = 4 * 2048;
    std::vector<std::uint32_t> cpu(64), gpu(device::words_only_size(dim));
    kernels().words_only(address, {keys.data(), nullptr, rows.size()}, {0, 0, dim}, cpu.data());
    carry_out(device::words_only(address, {DeviceRows(rows).view(), weights.data()}, dim, gpu.data()));
    const auto folded = [](const std::vector<std::uint32_t>& words) {
        std::uint32_t all = 0;
        for (const std::uint32_t word : words) all ^= word;
        return all;
    };
    CHECK(folded(cpu) == folded(gpu), "words_only");

    constexpr std::uint64_t stride = 509;
    std::vector<std::uint64_t> parts(device::transform_digests_size(stride));
    carry_out(device::transform_digests(stride, parts.data()));
    std::uint64_t radius = 0, direction = 0;
    for (std::size_t i = 0; i < parts.size(); i += 2) radius += parts[i], direction += parts[i + 1];
    std::ifstream file(FASTES_TESTDATA "/exhaustive.txt");
    bool found = false;
    for (std::string text; std::getline(file, text);) {
        std::istringstream line(text);
        std::uint64_t of = 0, expected_radius = 0, expected_direction = 0;
        line >> of >> std::hex >> expected_radius >> expected_direction;
        if (!line || of != stride) continue;
        found = true;
        CHECK(radius == expected_radius && direction == expected_direction, "transform_digests");
    }
    CHECK(found, "csrc/testdata/exhaustive.txt has no digests of this stride");
}

}  // namespace

void test_device() {
    select_isa(isas_usable().front());
    set_num_threads(1);
    test_elements();
    test_many_members();
    test_tensors();
    test_ceiling_and_digests();
}

}  // namespace fastes::tests
