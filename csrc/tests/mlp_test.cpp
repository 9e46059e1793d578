// The perceptron's forward pass: the same bits on every instruction set, and close to the functions that it stands for.
#include <cmath>

#include "tests.hpp"

namespace fastes::tests {
namespace {

struct Function {
    Activation activation;
    const char* name;
    double (*exact)(double);
    double allowed;  // largest error: absolute, or relative where the value is above 1
};

const Function functions[] = {
    {Activation::identity, "identity", [](double x) { return x; }, 0.0},
    {Activation::tanh, "tanh", [](double x) { return std::tanh(x); }, 1.2e-7},
    {Activation::relu, "relu", [](double x) { return x > 0.0 ? x : 0.0; }, 0.0},
    {Activation::elu, "elu", [](double x) { return x > 0.0 ? x : std::expm1(x); }, 6e-8},
    {Activation::silu, "silu", [](double x) { return x / (1.0 + std::exp(-x)); }, 2.5e-7},
    {Activation::gelu, "gelu", [](double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }, 3e-7},
    {Activation::gelu_tanh, "gelu_tanh",
     [](double x) {
         return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / 3.14159265358979324) * (x + 0.044715 * x * x * x)));
     },
     3e-7},
    {Activation::sigmoid, "sigmoid", [](double x) { return 1.0 / (1.0 + std::exp(-x)); }, 2e-7},
};

std::vector<float> forward(const std::vector<MlpLayer>& layers, const std::vector<float>& theta, std::size_t rows,
                           const std::vector<float>& x) {
    MlpShape shape{layers.data(), layers.size(), 0};
    std::size_t floats = 0;
    for (const MlpLayer& layer : layers) {
        floats += layer.packed_floats();
        shape.widest = std::max({shape.widest, layer.in, layer.padded()});
    }
    Guarded<float> packed(floats), scratch(shape.scratch_floats()), out(rows * layers.back().out);
    Guarded<float> center(theta), input(x);
    kernels().mlp_pack(shape, center.data(), packed.data());
    kernels().mlp_forward(shape, packed.data(), rows, input.data(), out.data(), scratch.data());
    packed.values(), scratch.values();  // the marks around them
    return out.values();
}

void test_activations() {
    std::vector<float> x;
    for (int i = -40000; i <= 40000; ++i)
        x.push_back(static_cast<float>(i) * 0.0005f * (1.0f + 0.3f * static_cast<float>(i % 7)));
    for (const Function& function : functions) {
        const std::vector<MlpLayer> one{{1, 1, 0, no_bias, function.activation}};
        select_isa("scalar");
        const auto expected = forward(one, {1.0f}, x.size(), x);
        double worst = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double exact = function.exact(static_cast<double>(x[i]));
            worst =
                std::max(worst, std::abs(static_cast<double>(expected[i]) - exact) / std::max(1.0, std::abs(exact)));
        }
        CHECK(worst <= function.allowed,
              std::string(function.name) + " is off by " + std::to_string(worst * 1e9) + "e-9");
        for (const auto& isa : isas_usable()) {
            select_isa(isa);
            check_same(expected, forward(one, {1.0f}, x.size(), x), std::string(function.name) + " on " + isa);
        }
    }
}

// Whatever its sign, wherever it comes from: parameters that have diverged must not look well.
void test_nan() {
    for (const Function& function : functions) {
        for (const std::uint32_t bits_of_nan : {0x7FC00000u, 0xFFC00000u}) {
            const std::vector<float> x(3, from_bits(bits_of_nan));
            for (const auto& isa : isas_usable()) {
                select_isa(isa);
                for (const float y : forward({{1, 1, 0, no_bias, function.activation}}, {1.0f}, 3, x)) {
                    CHECK(y != y, std::string(function.name) + " of NaN on " + isa);
                }
            }
        }
    }
}

// Widths around the lanes and the tiles of 16 and 64, with and without a bias, against sums in double precision.
void test_layers() {
    for (const std::uint32_t in : {1u, 2u, 3u, 4u, 5u, 17u, 64u}) {
        for (const std::uint32_t out : {1u, 2u, 15u, 16u, 17u, 64u, 65u, 130u}) {
            const bool biased = (in + out) % 2 == 0;
            const std::uint64_t weights = std::uint64_t{in} * out;
            const std::vector<MlpLayer> layers{
                {in, out, 1, biased ? 1 + weights : no_bias, Activation::tanh},
                {out, 3, 1 + weights + out, no_bias, Activation::identity},
            };
            std::vector<float> theta = ramps(1 + weights + out + 3 * out), x = ramps(2 * in);
            for (float& value : theta) value *= 0.05f;
            select_isa("scalar");
            const auto expected = forward(layers, theta, 2, x);
            for (std::size_t row = 0; row < 2; ++row) {
                std::vector<double> hidden(out);
                for (std::uint32_t o = 0; o < out; ++o) {
                    double sum = biased ? static_cast<double>(theta[1 + weights + o]) : 0.0;
                    for (std::uint32_t i = 0; i < in; ++i) {
                        sum += static_cast<double>(theta[1 + std::uint64_t{o} * in + i]) *
                               static_cast<double>(x[row * in + i]);
                    }
                    hidden[o] = std::tanh(sum);
                }
                for (std::uint32_t o = 0; o < 3; ++o) {
                    double sum = 0.0;
                    for (std::uint32_t i = 0; i < out; ++i) {
                        sum += static_cast<double>(theta[1 + weights + out + std::uint64_t{o} * out + i]) * hidden[i];
                    }
                    CHECK(std::abs(static_cast<double>(expected[3 * row + o]) - sum) < 2e-6 * std::sqrt(1.0 + out),
                          "perceptron of " + std::to_string(in) + " x " + std::to_string(out));
                }
            }
            for (const auto& isa : isas_usable()) {
                select_isa(isa);
                check_same(expected, forward(layers, theta, 2, x),
                           "perceptron of " + std::to_string(in) + " x " + std::to_string(out) + " on " + isa);
            }
        }
    }
}

// Layers of up to 12 outputs are laid out differently: the same bits as the first outputs of a wider layer.
void test_few_outputs() {
    constexpr std::uint32_t wide = 17;
    for (const std::uint32_t in : {4u, 8u, 64u}) {
        for (const Activation activation : {Activation::identity, Activation::tanh, Activation::sigmoid}) {
            std::vector<float> theta = ramps(wide * in + wide), x = ramps(3 * in);
            for (float& value : theta) value *= 0.05f;
            x[1] = -0.0f;
            select_isa("scalar");
            const auto expected = forward({{in, wide, 0, wide * in, activation}}, theta, 3, x);
            for (std::uint32_t out = 1; out <= 13; ++out) {
                std::vector<float> first;
                for (std::size_t row = 0; row < 3; ++row) {
                    const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(row * wide);
                    first.insert(first.end(), begin, begin + out);
                }
                for (const auto& isa : isas_usable()) {
                    select_isa(isa);
                    check_same(first, forward({{in, out, 0, wide * in, activation}}, theta, 3, x),
                               std::to_string(out) + " outputs of " + std::to_string(in) + " inputs on " + isa);
                }
            }
        }
    }
}

}  // namespace

void test_mlp() {
    test_activations();
    test_nan();
    test_layers();
    test_few_outputs();
}

}  // namespace fastes::tests
