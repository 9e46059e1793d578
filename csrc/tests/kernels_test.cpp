// All kernels, all instruction sets: the golden values, each other, thread counts, floating-point environments, fork.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests.hpp"

namespace fastes::tests {
namespace {

constexpr std::uint64_t max32 = 0xFFFFFFFFu;

std::string place(const Noise& noise) {
    return std::string(" of ") + name_of(noise.address.kind) + " on " + kernels().name + ", dim " +
           std::to_string(noise.dim) + ", offset " + std::to_string(noise.offset) + ", " +
           std::to_string(noise.rows.size()) + " rows";
}

// Everything that the kernels make of one address.
struct Results {
    std::vector<float> normal, perturbed, sum;
    std::vector<std::uint16_t> halves, brains;
    std::vector<SgdState> sgd;
    AdamState adam;
    std::vector<ClipUpState> clipup;
    std::vector<float> scaled;
    std::vector<std::uint16_t> scaled_halves;
    Sums sums;
    std::vector<SnesState> snes;
};

Results results_of(const Noise& noise) {
    const auto theta = ramps(noise.dim), weights = ramps(noise.rows.size());
    SgdStep sgd{};
    sgd.lr = 0.01f, sgd.momentum = 0.9f, sgd.l2 = 1e-3f, sgd.decay = 0.999f;
    SgdStep nesterov = sgd;
    nesterov.nesterov = true;
    AdamStep adam{};
    adam.step = 0.1f, adam.v_scale = 31.6f, adam.epsilon = 1e-8f, adam.l2 = 1e-3f, adam.decay = 0.999f;
    adam.beta1 = 0.9f, adam.one_minus_beta1 = 0.1f, adam.beta2 = 0.999f, adam.one_minus_beta2 = 0.001f;
    ClipUpStep clipped{};
    clipped.lr = 0.15, clipped.momentum = 0.9, clipped.max_speed = 0.3, clipped.l2 = 1e-3f, clipped.decay = 0.999f;
    ClipUpStep free = clipped;
    free.max_speed = 1e9;
    std::vector<float> squares = theta;
    for (float& x : squares) x = x * x;
    SnesStep snes{};
    snes.lr = 0.5f, snes.half_lr_sigma = 0.01f;
    SnesStep limited = snes;
    limited.half_lr_sigma = 100.0f;
    return {
        noise.rows.empty() ? std::vector<float>{} : noise.normal(),
        noise.perturb<float>(theta, weights, OutputType::float32),
        noise.weighted_sum(weights),
        noise.perturb<std::uint16_t>(theta, weights, OutputType::float16),
        noise.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16),
        {noise.sgd_step(weights, {theta, {}}, sgd), noise.sgd_step(weights, {theta, squares}, sgd),
         noise.sgd_step(weights, {theta, squares}, nesterov)},
        noise.adam_step(weights, {theta, theta, squares}, adam),
        {noise.clipup_step(weights, {theta, squares}, clipped), noise.clipup_step(weights, {theta, squares}, free)},
        noise.perturb<float>(theta, weights, OutputType::float32, squares),
        noise.perturb<std::uint16_t>(theta, weights, OutputType::float16, squares),
        noise.weighted_sums(weights, {weights.rbegin(), weights.rend()}),
        {noise.snes_step(weights, {theta, squares}, snes), noise.snes_step(weights, {theta, squares}, limited)},
    };
}

void check_same(const Results& a, const Results& b, const std::string& where) {
    tests::check_same(a.normal, b.normal, "normal" + where);
    tests::check_same(a.perturbed, b.perturbed, "perturb to float32" + where);
    tests::check_same(a.halves, b.halves, "perturb to float16" + where);
    tests::check_same(a.brains, b.brains, "perturb to bfloat16" + where);
    tests::check_same(a.sum, b.sum, "weighted_sum" + where);
    for (std::size_t i = 0; i < a.sgd.size(); ++i) {
        tests::check_same(a.sgd[i].theta, b.sgd[i].theta, "sgd_step's theta" + where);
        tests::check_same(a.sgd[i].momentum, b.sgd[i].momentum, "sgd_step's momentum" + where);
    }
    tests::check_same(a.adam.theta, b.adam.theta, "adam_step's theta" + where);
    tests::check_same(a.adam.m, b.adam.m, "adam_step's m" + where);
    tests::check_same(a.adam.v, b.adam.v, "adam_step's v" + where);
    for (std::size_t i = 0; i < a.clipup.size(); ++i) {
        tests::check_same(a.clipup[i].theta, b.clipup[i].theta, "clipup_step's theta" + where);
        tests::check_same(a.clipup[i].velocity, b.clipup[i].velocity, "clipup_step's velocity" + where);
    }
    tests::check_same(a.scaled, b.scaled, "perturb with sigma" + where);
    tests::check_same(a.scaled_halves, b.scaled_halves, "perturb with sigma to float16" + where);
    tests::check_same(a.sums.g, b.sums.g, "weighted_sums' g" + where);
    tests::check_same(a.sum, b.sums.g, "weighted_sums' g, which weighted_sum gives," + where);
    tests::check_same(a.sums.h, b.sums.h, "weighted_sums' h" + where);
    for (std::size_t i = 0; i < a.snes.size(); ++i) {
        tests::check_same(a.snes[i].theta, b.snes[i].theta, "snes_step's theta" + where);
        tests::check_same(a.snes[i].sigma, b.snes[i].sigma, "snes_step's sigma" + where);
    }
}

// The floats about which roundings to 16 bits could disagree: every exponent and sign, with mantissas on and beside
// every place where a kept bit may end. No NaN.
std::vector<float> rounding_patterns() {
    std::vector<float> patterns;
    for (std::uint32_t exponent = 0; exponent < 256; ++exponent) {
        std::vector<std::uint32_t> mantissas{0};
        for (std::uint32_t bit = 0; bit < 23 && exponent < 255; ++bit) {
            const std::uint32_t one = 1u << bit, all = 0x7FFFFFu & ~(one - 1);
            mantissas.insert(mantissas.end(), {one - 1, one, one + 1, 3 * one, 3 * one - 1, 3 * one + 1, all, all - 1});
        }
        for (const std::uint32_t mantissa : mantissas) {
            patterns.push_back(from_bits(exponent << 23 | (mantissa & 0x7FFFFFu)));
            patterns.push_back(-patterns.back());
        }
    }
    return patterns;
}

}  // namespace

// Every kind meets every size at every offset, with two of the counts, others each time; few rows at the largest size,
// to be done within minutes where the processor is emulated.
void test_kernels() {
    const std::size_t counts[] = {0, 1, 63, 64, 65, 200};
    std::size_t number = 0;
    set_num_threads(1);
    for (const std::size_t dim : {1u, 7u, 8u, 15u, 16u, 17u, 97u, 4099u}) {
        // From the beginning; inside a block of each kind, beside its words' ends; over 2^32; up to the last element.
        for (const std::uint64_t offset :
             {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4 * 1009 + 3}, std::uint64_t{128 * 77 + 95},
              (std::uint64_t{1} << 32) - 2, max_elements - dim}) {
            ++number;
            for (const std::size_t count : {counts[number % 6], counts[(number + 2) % 6]}) {
                if (dim == 4099 && count > 65) continue;
                for (const Kind kind : kinds) {
                    const Noise noise{{0x0123456789ABCDEF, 3, max32, kind}, rows_from(max32 - 5, count), offset, dim};
                    select_isa("scalar");
                    const Results expected = results_of(noise);
                    for (const auto& isa : isas_usable()) {
                        if (isa == "scalar") continue;
                        select_isa(isa);
                        check_same(expected, results_of(noise), place(noise));
                    }
                }
            }
        }
    }
}

void test_rounding() {
    const auto patterns = rounding_patterns();
    const Noise noise{{1, 0, 0}, {0}, 0, patterns.size()};
    select_isa("scalar");
    const auto halves = noise.perturb<std::uint16_t>(patterns, {0.0f}, OutputType::float16);
    const auto brains = noise.perturb<std::uint16_t>(patterns, {0.0f}, OutputType::bfloat16);
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        check_same(halves, noise.perturb<std::uint16_t>(patterns, {0.0f}, OutputType::float16), "float16 on " + isa);
        check_same(brains, noise.perturb<std::uint16_t>(patterns, {0.0f}, OutputType::bfloat16), "bfloat16 on " + isa);
    }
}

// Work enough for seven threads; spans are of 2048 elements.
void test_threads() {
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const Kind kind : kinds) {
            for (const auto& [dim, count] : {std::pair<std::size_t, std::size_t>{4099, 65}, {16'411, 17}}) {
                const Noise noise{{99, 1, 2, kind}, rows_from(0, count), 5, dim};
                set_num_threads(1);
                const Results expected = results_of(noise);
                for (const int threads : {2, 7}) {
                    set_num_threads(threads);
                    check_same(expected, results_of(noise), place(noise) + ", " + std::to_string(threads) + " threads");
                }
            }
        }
    }
}

}  // namespace fastes::tests

// The tests that are named, or all but those named after --without; how long each took.
int main(int argc, char** argv) {
    using namespace fastes::tests;
    struct Test {
        const char* name;
        void (*run)();
    };
    const Test tests[] = {
        {"golden", test_golden},
        {"kernels", test_kernels},
        {"rounding", test_rounding},
        {"threads", test_threads},
        {"clipup_in_place", test_clipup_in_place},
        {"given_gradients", test_given_gradients},
        {"low_rank", test_low_rank},
        {"low_rank_apply", test_low_rank_apply},
        {"floating_point_environment", test_floating_point_environment},
        {"fork", test_fork},
        {"device", test_device},
        {"episodes", test_episodes},
        {"mlp", test_mlp},
        {"rollout", test_rollout},
    };
    std::vector<std::string> names(argv + 1, argv + argc);
    const bool without = names.empty() || names[0] == "--without";
    if (without && !names.empty()) names.erase(names.begin());
    for (const Test& test : tests) {
        if ((std::erase(names, test.name) > 0) == without) continue;
        const auto begin = std::chrono::steady_clock::now();
        test.run();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        std::printf("%-28s %6.1f s\n", test.name, seconds.count());
        std::fflush(stdout);
    }
    for (const std::string& name : names) CHECK(false, "there is no test " + name);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
